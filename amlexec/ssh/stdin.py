"""Giving a program its standard input while somebody else reads what it prints."""

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
"""Bytes that every pipe takes without anybody reading: POSIX's smallest."""
_BLOCK = 1 << 16
_LOOK = 100
"""Milliseconds between two looks whether somebody wants us to stop."""


class Feeder:
    """Writes bytes and then a file into a pipe, and closes it."""

    def __init__(self, pipe: IO[bytes], head: bytes, given: bytes | IO[bytes] | None) -> None:
        self._pipe, self._head = pipe, head
        self._source: IO[bytes] | None = io.BytesIO(given) if isinstance(given, bytes) else given
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None
        """Why the input could not be read, where it could not."""

    def start(self) -> None:
        """Begin. What fits into the pipe is written at once."""
        if self._source is None and len(self._head) <= _AT_ONCE:
            self._feed()
        else:
            self._thread = threading.Thread(target=self._feed, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write no more. A read of the source that hangs is left to hang."""
        self._stopped.set()
        if self._thread:
            self._thread.join(1)

    def _feed(self) -> None:
        try:
            # A program that reads no further is no error: it may have had enough.
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
    """What `write` writes, to be read while it is still being written; it can't be read twice.

    Whoever leaves the block early ends the writing. Raises what `write` raises, at the end of the block.
    """
    reading, writing = os.pipe()
    failed: list[Exception] = []

    def fill() -> None:
        try:
            with os.fdopen(writing, "wb") as sink:
                write(sink)
        except BrokenPipeError:
            pass  # nobody reads on: why, is for them to say
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
