"""Temporary folders in the cache, for environments on their way into an image."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import locks, private_folders
from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOCK", "paused", "room"]

LOCK = "lock"
"""The name of the lock of a folder, which its user holds."""
_LOCK_TIMEOUT_S = 600.0
"""Another process may be removing some hundred thousand files."""


@contextlib.contextmanager
def room(cache: Path) -> Iterator[Path]:
    """An empty folder, removed after the block; if the process is killed, by the next call.

    It is on the file system of the package cache, so that packages are hard links.

    Raises:
        TargetError: the folder can't be made.
    """
    staging = cache / "staging"
    try:
        private_folders.make(staging)
        with locks.exclusive(str(staging / LOCK), _LOCK_TIMEOUT_S):
            _sweep(staging)
            folder = Path(tempfile.mkdtemp(dir=staging))
            lock = locks.take(str(folder / LOCK))
    except OSError as error:
        raise TargetError(
            f"the package cache can't be written: {error.strerror}",
            where=str(error.filename or staging),
            hint="free some space, or set AMLEXEC_CACHE to a folder with enough space",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def paused(cache: Path) -> Iterator[bool]:
    """Keep others from making a `room` during the block; False if one is in use.

    Raises:
        TargetError: the cache can't be written.
    """
    staging = cache / "staging"
    try:
        private_folders.make(staging)
    except OSError as error:
        raise TargetError(
            f"the package cache can't be written: {error.strerror}", where=str(error.filename or staging)
        ) from error
    with locks.exclusive(str(staging / LOCK), _LOCK_TIMEOUT_S):
        _sweep(staging)
        yield all(left.name == LOCK for left in staging.iterdir())


def _sweep(staging: Path) -> None:
    for left in staging.iterdir():
        if left.name == LOCK:
            continue
        # A process that uses a folder holds its lock for its whole life.
        lock = locks.take(str(left / LOCK)) if left.is_dir() else None
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            lock.release()
