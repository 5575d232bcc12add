"""A way to a machine: run a program there. So far there is one machine, this one."""

from __future__ import annotations

import subprocess
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.locks import Held

__all__ = ["Answer", "Connection", "LocalConnection"]


class Answer(NamedTuple):
    """What a program said when it had ended."""

    exit_code: int
    stdout: str
    stderr: str


class Connection(Protocol):
    """A machine, as a target sees it."""

    @property
    def name(self) -> str:
        """What messages call the machine."""

    def run(
        self,
        arguments: Sequence[str],
        *,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        """Run a program to its end. No shell looks at the arguments. `environment` is all of its own.

        Raises:
            TargetError: the program is not there, can't be started, or took longer than `timeout` seconds.
        """

    def start(
        self, arguments: Sequence[str], folder: str, environment: Mapping[str, str], held: Held
    ) -> IO[bytes]:
        """Start a program that outlives us, in a session of its own; end of file there is its end.

        Its standard input is the lock `held`: it has the lock until it closes that.
        """


class LocalConnection:
    """The machine that we are on."""

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
        # It outlives us by design: nobody waits for it, and there is nothing to warn of.
        process.returncode = 0
        return process.stdout
