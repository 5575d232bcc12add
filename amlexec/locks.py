"""File locks between processes, released when their holder ends.

A lock is `flock(2)`: the kernel releases it when its last holder ends, in any way, so nothing has to be
cleaned up. A child that inherits the descriptor holds the lock too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Held", "exclusive", "share", "take", "take_shared", "unshare"]

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
        descriptor, self._descriptor = self._descriptor, -1  # an interrupt must not lead to a second close
        if descriptor >= 0:
            os.close(descriptor)


def take(path: str) -> Held | None:
    """Lock the file `path` (made if missing); None if another process holds the lock."""
    return _taken(path, fcntl.LOCK_EX)


def take_shared(path: str) -> Held | None:
    """The same, beside other processes that share the lock; None if a process holds it alone."""
    return _taken(path, fcntl.LOCK_SH)


def _taken(path: str, how: int) -> Held | None:
    while True:
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            if _is_file(descriptor, path):
                return Held(descriptor)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        os.close(descriptor)  # it was replaced since it was opened, see `replace`


def _is_file(descriptor: int, path: str) -> bool:
    """Whether the file at `path` is the one that was opened; True if it was removed, with its folder."""
    try:
        found = os.lstat(path)
    except OSError:
        return True
    opened = os.fstat(descriptor)
    return (found.st_ino, found.st_dev) == (opened.st_ino, opened.st_dev)


def share(path: str, others: Sequence[str]) -> list[Held]:
    """Hold the locks `others`, which don't exist yet, with the held one at `path`, whose file they become.

    A process has few descriptors, and a thousand runs a lock each. Before that lock is released, `unshare`
    gives each its own file. Where a file can't have several names, each has its own at once: these are
    returned.
    """
    own: list[Held] = []
    for other in others:
        try:
            os.link(path, other)
        except OSError:
            taken = take(other)
            assert taken is not None, "no other process knows this file"
            own.append(taken)
    return own


def unshare(held: Held, others: Sequence[str]) -> None:
    """Give each of the locks that are shared with `held` a file of its own, which is not locked."""
    for other in others:
        if _is_file(held.fileno(), other):
            beside = f"{other}.new"
            os.close(os.open(beside, _FLAGS, 0o600))
            os.rename(beside, other)  # noqa: PTH104 - as everywhere in this module: texts


@contextlib.contextmanager
def exclusive(path: str, timeout: float) -> Iterator[int]:
    """Lock the file `path` (made if missing), and yield its descriptor.

    `timeout` is in seconds. Raises TargetError if another process still holds the lock after that, with its
    number, or if the file can't be made.
    """
    descriptor = _opened(path)
    try:
        _wait(descriptor, path, timeout)
        while not _is_file(descriptor, path):
            os.close(descriptor)
            descriptor = _opened(path)
            _wait(descriptor, path, timeout)
        with contextlib.suppress(OSError):  # a full disk; the number is only for the message below
            os.pwrite(descriptor, b"%-20d\n" % os.getpid(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise TargetError(
            f"cannot write {path}: {error.strerror}",
            hint="amlexec stores its records there: make the folder writable, or free some space",
        ) from error


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
