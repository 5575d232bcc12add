"""Build an environment on a machine over SSH: calls of the functions in `list.sh` and `prefix.sh`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.ssh.connection import SSHConnection

__all__ = ["LOCK_FILE", "NAME_LENGTH", "RemotePrefix", "failed", "script"]

_HERE = Path(__file__).parent
LOCK_FILE = "amlexec.lock"
"""An environment's resolved lock, in its folder."""
NAME_LENGTH = 20
"""Length of an environment's folder name, the beginning of its digest. The `#!` line of a script contains the
whole path of its Python, and old kernels read only 127 characters of it."""


def script(verb: str, *, keeping: bool = True, more: str = "") -> str:
    """A shell script that calls `verb` with its own arguments; `keeping` adds the verbs of `prefix.sh`.

    `more` is shell text with more verbs.
    """
    parts = [_HERE / "list.sh"]
    if keeping:
        parts = [_HERE.parent / "runtime/identity.sh", *parts, _HERE / "prefix.sh"]
    return "\n".join([*(part.read_text("utf-8") for part in parts), more, f'{verb} "$@"\n'])


def failed(what: str, stderr: str, where: str) -> TargetError:
    """The error of a verb that failed, with the reason from its standard error."""
    last = stderr.strip().rpartition("\n")[2].strip()
    if "No space left" in stderr or "quota" in stderr.lower():
        return TargetError(
            f"its disk is full: {what}",
            where=where,
            hint="free disk space; `amlexec experiment clean --environments` removes environments",
        )
    if "Read-only file system" in stderr or "Permission denied" in stderr:
        return TargetError(
            f"~/.amlexec can't be written: {last or 'no reason given'}",
            where=where,
            hint="environments are stored in this folder of the user's home: make it writable",
        )
    return TargetError(f"{what}: {last or 'no error message'}", where=where)


class RemotePrefix:
    """An environment that is being built, in a folder with a unique name."""

    def __init__(self, connection: SSHConnection, digest: str) -> None:
        """No I/O."""
        self._connection = connection
        self.machine = connection.name
        self._name = digest[:NAME_LENGTH]
        self._folder = os.urandom(4).hex()
        self.home = ""
        """The user's home on the machine; set by `begin`."""

    @property
    def base(self) -> str:
        """amlexec's folder on the machine."""
        return f"{self.home}/.amlexec"

    @property
    def prefix(self) -> str:
        """The environment's folder."""
        return f"{self.base}/envs/{self._name}/{self._folder}"

    @property
    def incoming(self) -> str:
        """A temporary folder for files that are sent."""
        return f"{self.base}/incoming/{self._name}.{self._folder}"

    def begin(self, installer: str) -> dict[str, str]:
        """Create the empty folder; facts about the machine, by key. Raises TargetError."""
        output = self.run("begin", installer)
        facts = {key: value for key, _, value in (line.partition(" ") for line in output.splitlines())}
        self.home = facts["home"]
        return facts

    def run(
        self,
        verb: str,
        *arguments: str,
        input: bytes | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = None,
    ) -> str:
        """Run a verb on this environment; its standard output. Raises TargetError."""
        answer = self._connection.run(
            script(verb), self._name, self._folder, *arguments, input=input, timeout=timeout
        )
        if answer.exit_code != 0:
            raise failed(f"`{verb}` failed", answer.stderr, self.machine)
        return answer.stdout

    def send(self, verb: str, what: str, archive: IO[bytes], about: str) -> None:
        """Send an archive to `take` or `put`; `about` names it in an error. Raises TargetError."""
        answer = self._connection.run(script(verb), what, input=archive, timeout=None)
        if answer.exit_code != 0:
            raise failed(f"{about} could not be sent", answer.stderr, self.machine)

    def pip(self, *options: str, given: bytes, told: Callable[[bytes], object]) -> int:
        """Run the environment's pip; its exit code. `given` is its standard input, see `prefix.sh`."""
        with self._connection.stream(
            script("pip"), self._name, self._folder, *options, input=given
        ) as channel:
            while chunk := channel.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                told(chunk)
            code = channel.wait()
            told(channel.stderr.encode())
        return code

    def python(self, installer: str, *arguments: str, given: bytes, told: Callable[[bytes], object]) -> str:
        """Run the bootstrap Python; its standard error."""
        with self._connection.stream(script("run"), installer, *arguments, input=given) as channel:
            while chunk := channel.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                told(chunk)
            channel.wait()
            return channel.stderr
