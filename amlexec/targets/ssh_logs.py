"""The local copy of a remote run's log, which is shown and continued."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from amlexec.errors import UnreachableError
from amlexec.files import open_to_write
from amlexec.targets.run_folders import hand_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RunLog"]

_BLOCK = 1 << 20


class RunLog:
    """The file at `path`, a prefix of the remote log; its content is passed to `sink`."""

    def __init__(self, path: Path, sink: Callable[[bytes], object] = len) -> None:
        self._path, self._sink = path, sink
        self.position = path.stat().st_size if path.exists() else 0
        """Bytes of the log that are local; following continues there."""

    def show(self) -> None:
        """Pass on the local content."""
        self.position = hand_on(self._path, 0, self._sink)

    def show_rest(self) -> None:
        """Pass on what another process has written since."""
        self.position = hand_on(self._path, self.position, self._sink)

    def copy(self, source: IO[bytes], length: int) -> None:
        """Read the next `length` bytes, write them to the file, and pass them on.

        Raises:
            UnreachableError: the source ends early.
        """
        descriptor = open_to_write(self._path)
        try:
            while length:
                chunk = source.read(min(length, _BLOCK))
                if not chunk:
                    raise UnreachableError("the connection ended in the middle of a log")
                # At its offset, not at the end: two processes that follow one run write the same file.
                _write(descriptor, chunk, self.position)
                self.position += len(chunk)
                self._sink(chunk)
                length -= len(chunk)
        finally:
            os.close(descriptor)


def _write(descriptor: int, chunk: bytes, position: int) -> None:
    while chunk:
        written = os.pwrite(descriptor, chunk, position)
        chunk, position = chunk[written:], position + written
