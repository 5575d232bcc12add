"""Give the files of a snapshot back to the user, in a new folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import outside
from amlexec.errors import TargetError, UsageError
from amlexec.file_trees import walk
from amlexec.snapshots import read

if TYPE_CHECKING:
    from amlexec.values import Project

__all__ = ["export", "open_up"]


def export(project: Project, tree: str, folder: Path) -> None:
    """Write the files of a snapshot into the new folder `folder`; it appears whole, or not at all.

    An empty folder of that name is taken. Files get the permissions that the umask allows.

    Raises:
        UsageError: `folder` exists and is not empty, or is no folder.
        TargetError: the snapshot does not exist or is damaged; the folder can't be made; the disk is full.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - the folder itself may be a link
    _must_be_new(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"{folder} can't be made: {error.strerror}") from error
    with outside.beside(project, folder) as beside:
        try:
            beside.mkdir(mode=0o700)
        except OSError as error:
            raise TargetError(f"{folder} can't be made: {error.strerror}") from error
        read.checkout(project, tree, beside / "files")
        open_up(beside / "files")
        try:
            # Fails if somebody else has put something there meanwhile; an empty folder is replaced.
            (beside / "files").rename(folder)
        except OSError as error:
            _must_be_new(folder)
            raise TargetError(f"{folder} can't be made: {error.strerror}") from error


def _must_be_new(folder: Path) -> None:
    hint = "name a folder that does not exist: nothing is ever overwritten"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder} exists and is not a folder", hint=hint)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is not empty", hint=hint)


def open_up(root: Path, but: str = "") -> None:
    """Give files and folders the permissions of new ones: those of runs are private. Leaves out `but`."""
    umask = os.umask(0o077)
    os.umask(umask)
    for folder in walk(root):
        if but and (folder.path == but or folder.path.startswith(f"{but}/")):
            continue
        os.fchmod(folder.descriptor, 0o777 & ~umask)
        for entry in folder.others:
            if entry.is_file(follow_symlinks=False):
                is_program = entry.stat(follow_symlinks=False).st_mode & 0o100
                mode = (0o777 if is_program else 0o666) & ~umask
                os.chmod(entry.name, mode, dir_fd=folder.descriptor)
