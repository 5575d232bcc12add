"""File locks between processes, released when their holder ends.

A lock is `flock(2)`: the kernel releases it when its last holder ends, in any way, so nothing has to be
cleaned up. A child that inherits the descriptor holds the lock too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Held", "exclusive", "take", "take_shared"]

_LONGEST_INTERVAL_S = 0.1
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Follows no link, which could make the file elsewhere."""


class Held:
    """A lock that this process holds until `release`, or until it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Its descriptor. A child that inherits it holds the lock too."""
        return self._descriptor

    def release(self) -> None:
        """Release the lock. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def take(path: str) -> Held | None:
    """Lock the file `path` (made if missing); None if another process holds the lock."""
    return _taken(path, fcntl.LOCK_EX)


def take_shared(path: str) -> Held | None:
    """The same, beside other processes that share the lock; None if a process holds it alone."""
    return _taken(path, fcntl.LOCK_SH)


def _taken(path: str, how: int) -> Held | None:
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return Held(descriptor)


@contextlib.contextmanager
def exclusive(path: str, timeout: float) -> Iterator[int]:
    """Lock the file `path` (made if missing), and yield its descriptor.

    `timeout` is in seconds. Raises TargetError if another process still holds the lock after that, with its
    number, or if the file can't be made.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise TargetError(
            f"cannot write {path}: {error.strerror}",
            hint="amlexec stores its records there: make the folder writable, or free some space",
        ) from error
    try:
        _wait(descriptor, path, timeout)
        with contextlib.suppress(OSError):  # a full disk; the number is only for the message below
            os.pwrite(descriptor, b"%-20d\n" % os.getpid(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(descriptor: int, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise TargetError(
                    f"{path} has been locked for more than {timeout:.0f} s, by process {holder}",
                    hint="wait until that process has ended, or end it",
                ) from None
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_INTERVAL_S)
