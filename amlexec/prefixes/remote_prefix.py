"""A machine over SSH on which an environment is being made: the verbs of `list.sh` and `prefix.sh`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.ssh.connection import SSHConnection

__all__ = ["NAME_LENGTH", "RemotePrefix", "failed", "script"]

_HERE = Path(__file__).parent
NAME_LENGTH = 20
"""Characters of a digest that an environment's folder is called by. The first line of a script in it holds
the whole path of its Python, and old kernels read no more than 127 characters of that."""


def script(verb: str, *, keeping: bool = True) -> str:
    """The text that calls a verb with what the script is given; `keeping` for those of `prefix.sh`."""
    parts = [_HERE / "list.sh"]
    if keeping:
        parts = [_HERE.parent / "runtime/identity.sh", *parts, _HERE / "prefix.sh"]
    return "\n".join([*(part.read_text("utf-8") for part in parts), f'{verb} "$@"\n'])


def failed(what: str, said: str, where: str) -> TargetError:
    """The error of a verb; `said` is what it wrote to its standard error."""
    last = said.strip().rpartition("\n")[2].strip()
    if "No space left" in said or "quota" in said.lower():
        return TargetError(
            f"its disk is full: {what}",
            where=where,
            hint="make room there; `amlexec experiment clean --environments` removes environments",
        )
    if "Read-only file system" in said or "Permission denied" in said:
        return TargetError(
            f"~/.amlexec can't be written: {last or 'no reason was given'}",
            where=where,
            hint="environments are kept in that folder of the user's home: make it writable",
        )
    return TargetError(f"{what}: {last or 'it said nothing'}", where=where)


class RemotePrefix:
    """One environment on its way; in a folder whose name nobody else has."""

    def __init__(self, connection: SSHConnection, digest: str) -> None:
        """Nothing is done yet."""
        self._connection = connection
        self.machine = connection.name
        self._name = digest[:NAME_LENGTH]
        self._folder = os.urandom(4).hex()
        self.home = ""
        """The user's home there, once `begin` has been called."""

    @property
    def base(self) -> str:
        """The folder there that everything of ours is in."""
        return f"{self.home}/.amlexec"

    @property
    def prefix(self) -> str:
        """Where the environment comes to be."""
        return f"{self.base}/envs/{self._name}/{self._folder}"

    @property
    def incoming(self) -> str:
        """A folder for what is sent, gone in the end."""
        return f"{self.base}/incoming/{self._name}.{self._folder}"

    def begin(self, installer: str) -> dict[str, str]:
        """Make the empty folder; what the machine is. Raises TargetError."""
        said = self.run("begin", installer)
        known = {key: value for key, _, value in (line.partition(" ") for line in said.splitlines())}
        self.home = known["home"]
        return known

    def run(
        self,
        verb: str,
        *arguments: str,
        input: bytes | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = None,
    ) -> str:
        """Run a verb on this environment; what it prints. Raises TargetError."""
        answer = self._connection.run(
            script(verb), self._name, self._folder, *arguments, input=input, timeout=timeout
        )
        if answer.exit_code != 0:
            raise failed(f"`{verb}` failed there", answer.stderr, self.machine)
        return answer.stdout

    def send(self, verb: str, what: str, archive: IO[bytes], about: str) -> None:
        """Send an archive to `take` or `put`; `about` says in an error what it is. Raises TargetError."""
        answer = self._connection.run(script(verb), what, input=archive, timeout=None)
        if answer.exit_code != 0:
            raise failed(f"{about} could not be sent", answer.stderr, self.machine)

    def pip(self, *options: str, given: bytes, told: Callable[[bytes], object]) -> int:
        """Run the environment's pip; its exit code. `given` as of the verb."""
        with self._connection.stream(
            script("pip"), self._name, self._folder, *options, input=given
        ) as channel:
            while chunk := channel.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                told(chunk)
            code = channel.wait()
            told(channel.stderr.encode())
        return code

    def python(self, installer: str, *arguments: str, given: bytes, told: Callable[[bytes], object]) -> str:
        """Run the installer's Python; what it wrote to standard error."""
        with self._connection.stream(script("run"), installer, *arguments, input=given) as channel:
            while chunk := channel.stdout.read1(1 << 16):  # type: ignore[attr-defined]
                told(chunk)
            channel.wait()
            return channel.stderr
