"""Room in the cache for an environment on its way into an image; what killed processes left there goes."""

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

__all__ = ["room"]

_LOCK = "lock"
_WAIT_SECONDS = 600.0
"""Another process may be removing some hundred thousand files."""


@contextlib.contextmanager
def room(cache: Path) -> Iterator[Path]:
    """An empty folder that is gone after the block, or at the latest when the next one is asked for.

    It is on the file system of the package cache, so that packages are hard links.

    Raises:
        TargetError: it can't be made.
    """
    staging = cache / "staging"
    try:
        private_folders.make(staging)
        with locks.exclusive(str(staging / _LOCK), _WAIT_SECONDS):
            _sweep(staging)
            folder = Path(tempfile.mkdtemp(dir=staging))
            held = locks.take(str(folder / _LOCK))
    except OSError as error:
        raise TargetError(
            f"the package cache can't be written: {error.strerror}",
            where=str(error.filename or staging),
            hint="make room there, or set AMLEXEC_CACHE to a folder where there is some",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            held.release()


def _sweep(staging: Path) -> None:
    for left in staging.iterdir():
        if left.name == _LOCK:
            continue
        # Whoever uses a room holds its lock as long as it lives.
        held = locks.take(str(left / _LOCK)) if left.is_dir() else None
        if held is not None:
            shutil.rmtree(left, ignore_errors=True)
            held.release()
