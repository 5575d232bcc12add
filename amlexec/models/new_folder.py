"""Make a folder with the files of a model: beside its place, and renamed when it is complete."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from amlexec import temporaries
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.models.content import changed

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.models.content import Content

__all__ = ["beside", "publish", "sweep"]

_NEW = ".new."
"""Of unfinished folders, before the name of the process that makes them."""


def beside(folder: Path) -> Path:
    """A new path in the same folder, which `sweep` removes after this process has ended."""
    return folder.parent / f"{_NEW}{temporaries.owner()}-{os.urandom(4).hex()}"


def publish(new: Path, folder: Path, content: Content) -> None:
    """Give a complete folder its place, unless another process was faster. Damaged files there are replaced.

    Raises TargetError, OSError.
    """
    for _ in range(3):
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        else:
            return
        if not changed(folder, content):
            return  # another process was faster
        damaged = beside(folder)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(damaged)
            remove_tree(damaged)
    raise TargetError("another process keeps changing these files", where=str(folder))


def sweep(parent: Path) -> None:
    """Remove what killed processes left."""
    for entry in parent.iterdir():
        if entry.name.startswith(_NEW):
            with contextlib.suppress(OSError):
                if temporaries.is_left(entry.name, time.time() - entry.lstat().st_mtime):
                    remove_tree(entry)
