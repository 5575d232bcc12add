"""The verbs of `runtime/host.sh` on a machine: sent once, and then called by name."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from functools import partial
from typing import IO, TYPE_CHECKING

from amlexec.runtime import HERE, SERVING
from amlexec.ssh.connection import RUN_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.local_machine import Answer
    from amlexec.ssh.channel import Stream
    from amlexec.ssh.connection import SSHConnection

__all__ = ["Verbs", "runtime_digest"]

_PARTS = ("identity.sh", "host.sh")
_ABSENT = 97
"""Exit code of a call by name if the machine does not have the verbs yet."""


class Verbs:
    """The verbs on a machine. `runtime` is the digest of their folder there.

    They are 10 kB, more than the rest of a small run, and each run calls seven verbs.
    """

    def __init__(self, connection: SSHConnection, runtime: str, parts: tuple[str, ...] = _PARTS) -> None:
        """`parts` are the files with the verbs."""
        self._connection = connection
        self._parts = parts
        self._folder = f"$HOME/.amlexec/runtime/{runtime}"
        self._is_there: bool | None = None
        """Whether the machine has them; None for unknown."""

    def arrived(self) -> None:
        """A run has sent them."""
        self._is_there = True

    def run(
        self,
        verb: str,
        *arguments: str,
        input: bytes | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = RUN_TIMEOUT_S,
        expects_more: bool = False,
    ) -> Answer:
        """Run a verb to its end; parameters and errors as of `SSHConnection.run`."""
        run = partial(self._connection.run, input=input, timeout=timeout, expects_more=expects_more)
        if self._is_there is not False:
            answer = run(self._by_name(verb), *arguments)
            self._is_there = answer.exit_code != _ABSENT
            if self._is_there:
                return answer
        return run(self._script(verb), *arguments)

    @contextlib.contextmanager
    def stream(
        self,
        verb: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = None,
        expects_more: bool = False,
    ) -> Iterator[Stream]:
        """Run a verb, and read what it prints; parameters and errors as of `SSHConnection.stream`."""
        if self._is_there is None:
            self.run(":")
        with self._connection.stream(
            self._script(verb), *arguments, input=input, timeout=timeout, expects_more=expects_more
        ) as channel:
            yield channel

    def _script(self, verb: str) -> str:
        return self._by_name(verb) if self._is_there else f'{_text(self._parts)}\n{verb} "$@"\n'

    def _by_name(self, verb: str) -> str:
        # Files that were changed on the machine are not used.
        files = " ".join(f'"{self._folder}/{name}"' for name in self._parts)
        sums = "\n".join(f"{_digest(name)}  {self._folder}/{name}" for name in self._parts)
        sourced = "".join(f'. "{self._folder}/{name}"\n' for name in self._parts)
        return f'[ "$(sha256sum {files} 2>/dev/null)" = "{sums}" ] || exit {_ABSENT}\n{sourced}{verb} "$@"\n'


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256((HERE / name).read_bytes()).hexdigest()


@functools.cache
def _text(parts: tuple[str, ...]) -> str:
    return "".join((HERE / name).read_text("utf-8") for name in parts)


@functools.cache
def runtime_digest() -> str:
    """The name of the runtime's folder on a machine; `whole` of host.sh computes the same digest."""
    top, paths = str(HERE), []
    for folder, folders, names in os.walk(top):
        if folder == top:
            folders.remove(SERVING.name)
        paths += [f"{folder}/{name}" for name in names if name.endswith((".sh", ".py"))]
    found = hashlib.sha256()
    for path in sorted(paths, key=os.fsencode):
        with open(path, "rb") as file:  # noqa: PTH123 - of many files
            found.update(file.read())
    return found.hexdigest()[:16]
