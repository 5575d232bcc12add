"""Run programs on a machine; so far only on this one."""

from __future__ import annotations

import subprocess

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from amlexec.locks import Held

__all__ = ["Answer", "Connection", "LocalConnection"]


class Answer(NamedTuple):
    """The result of a finished program."""

    exit_code: int
    stdout: str
    stderr: str


class Connection(Protocol):
    """The interface of a machine for a target."""

    @property
    def name(self) -> str:
        """The machine's name in messages."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        """Run a program to its end, without a shell. `environment` is its complete environment.

        Raises:
            TargetError: the program does not exist, can't be started, or took longer than `timeout` seconds.
        """

    def start(
        self, arguments: Sequence[str], folder: str, environment: Mapping[str, str], held: Held
    ) -> IO[bytes]:
        """Start a program that outlives this process, in a new session; returns its stdout.

        End of file there means that the program has ended. Its standard input is the lock `held`: it holds
        the lock until it closes its input.
        """


class LocalConnection:
    """This machine."""

    name = "this machine"

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        """See `Connection.run`."""
        try:
            done = subprocess.run(
                list(arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=timeout,
                env=None if environment is None else dict(environment),
            )
        except subprocess.TimeoutExpired:
            raise TargetError(f"{arguments[0]} has not ended after {timeout:g} s", where=self.name) from None
        except OSError as error:
            raise TargetError(f"{arguments[0]} can't be started: {error.strerror}", where=self.name) from None
        return Answer(
            done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def start(
        self, arguments: Sequence[str], folder: str, environment: Mapping[str, str], held: Held
    ) -> IO[bytes]:
        """See `Connection.start`."""
        try:
            process = subprocess.Popen(
                list(arguments),
                cwd=folder,
                env=dict(environment),
                stdin=held.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TargetError(f"{arguments[0]} can't be started: {error}", where=self.name) from None
        assert process.stdout is not None
        # It outlives this process by design. A set return code prevents Python's warning.
        process.returncode = 0
        return process.stdout
