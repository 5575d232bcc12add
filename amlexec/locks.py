"""Locks between processes of one machine: `flock` on a file, which a dying process lets go of by itself."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Held", "exclusive", "take"]

_POLL_SECONDS = 0.02


class Held:
    """A lock that this process holds until `release`, or until it ends. Children do not inherit it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. Once is enough; twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def take(path: Path) -> Held | None:
    """The lock of the file `path` (made if need be), or None where another process holds it now."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Held(descriptor)


@contextmanager
def exclusive(path: Path, timeout: float = 60.0) -> Iterator[None]:
    """Hold the lock of the file `path`, waiting for it up to `timeout` seconds.

    Raises:
        TimeoutError: another process held it all the time.
    """
    until = time.monotonic() + timeout
    while (held := take(path)) is None:
        if time.monotonic() > until:
            raise TimeoutError(f"another process has held {path} for {timeout:g} s")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        held.release()
