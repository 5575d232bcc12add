"""The users of containers, and files that are theirs. Imports little: each run in a container needs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.file_trees import walk

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["give", "user_name"]


def user_name(uid: int) -> str:
    """The name of a user on this machine; `user` if the number has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "user"


def give(folder: Path, uid: int, gid: int) -> None:
    """Change the owner of a folder, recursively."""
    for found in walk(folder):
        os.fchown(found.descriptor, uid, gid)
        for entry in found.others:
            os.chown(entry.name, uid, gid, dir_fd=found.descriptor, follow_symlinks=False)
