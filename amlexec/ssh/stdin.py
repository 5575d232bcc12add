"""Writes a program's standard input in a thread, while the caller reads its output."""

from __future__ import annotations

import contextlib
import io
import os
import select
import threading
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Feeder", "flowing"]

_AT_ONCE = 1 << 12
"""Bytes that every pipe buffers without a reader: POSIX's minimum."""
_BLOCK = 1 << 16
_LOOK = 100
"""Milliseconds between two checks of the stop event."""


class Feeder:
    """Writes bytes and then a file into a pipe, and closes it."""

    def __init__(self, pipe: IO[bytes], head: bytes, given: bytes | IO[bytes] | None) -> None:
        self._pipe, self._head = pipe, head
        self._source: IO[bytes] | None = io.BytesIO(given) if isinstance(given, bytes) else given
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None
        """Why the input could not be read; None for no error."""

    def start(self) -> None:
        """Start writing. A short input is written at once, without a thread."""
        if self._source is None and len(self._head) <= _AT_ONCE:
            self._feed()
        else:
            self._thread = threading.Thread(target=self._feed, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop writing. A read of the source that hangs is not interrupted."""
        self._stopped.set()
        if self._thread:
            self._thread.join(1)

    def _feed(self) -> None:
        try:
            # It is not an error if the program stops reading: it may not need all of the input.
            with contextlib.suppress(BrokenPipeError):
                self._write(self._head)
                while self._source and not self._stopped.is_set() and (part := self._source.read(_BLOCK)):
                    self._write(part)
        except (OSError, ValueError) as error:
            self.error = error
        finally:
            with contextlib.suppress(OSError):
                self._pipe.close()

    def _write(self, data: bytes) -> None:
        descriptor = self._pipe.fileno()
        os.set_blocking(descriptor, False)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLOUT)
        rest = memoryview(data)
        while rest and not self._stopped.is_set():
            if waiting.poll(_LOOK):
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(descriptor, rest) :]


@contextlib.contextmanager
def flowing(write: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """A pipe to read what `write` writes, while it is still writing.

    Leaving the block early ends the writing. Raises what `write` raises, at the end of the block.
    """
    reading, writing = os.pipe()
    failed: list[Exception] = []

    def fill() -> None:
        try:
            with os.fdopen(writing, "wb") as sink:
                write(sink)
        except BrokenPipeError:
            pass  # the reader stopped early, and reports why
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        with os.fdopen(reading, "rb") as source:
            yield source
    finally:
        thread.join()
    if failed:
        raise failed[0]
