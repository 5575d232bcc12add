"""A log of a run on another machine, as far as it is here: shown, and gone on with."""

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
    """The file at `path`, which begins as the log there does; all that comes is handed to `sink`."""

    def __init__(self, path: Path, sink: Callable[[bytes], object] = len) -> None:
        self._path, self._sink = path, sink
        self.position = path.stat().st_size if path.exists() else 0
        """How many bytes of the log are here. A following that was cut goes on there."""

    def show(self) -> None:
        """Hand on what is here already."""
        self.position = hand_on(self._path, 0, self._sink)

    def show_rest(self) -> None:
        """Hand on what somebody else has brought here since."""
        self.position = hand_on(self._path, self.position, self._sink)

    def copy(self, source: IO[bytes], length: int) -> None:
        """Take the next `length` bytes: keep them here, and hand them on.

        Raises:
            UnreachableError: they end early.
        """
        descriptor = open_to_write(self._path)
        try:
            while length:
                chunk = source.read(min(length, _BLOCK))
                if not chunk:
                    raise UnreachableError("the connection ended in the middle of a log")
                # Each byte at its place, not at the end: two who follow one run write the same file.
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
