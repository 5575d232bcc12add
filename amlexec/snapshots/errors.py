"""What went wrong while a snapshot was taken or read, for the user: what to do about it."""

from __future__ import annotations

import re
import shutil
import signal

from amlexec import git
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.snapshots.store import Store

__all__ = ["damaged", "full", "is_full", "recover"]

# git's messages for a file that changed meanwhile, and for a damaged repository.
_CHANGED = r"short read|read error|changed while|does not exist|is a directory|unable to stat|No such file"
_DAMAGED = (
    r"index file|bad index|bad signature|invalid object|unable to read|not a valid|not a tree|is empty|"
    r"corrupt|inflate|not a git repository|object file|cannot read|could not read|unordered"
)


def recover(error: Exception, store: Store, root: str, *, last: bool) -> list[str]:
    """Notes for the user if another attempt makes sense; else raises a TargetError with a hint."""
    output = error.output if isinstance(error, git.GitError) else str(error)
    if is_full(output):
        why = full(store.folder, root)
        store.discard_if_first()
        raise why from error
    if isinstance(error, OSError):
        raise TargetError(
            f"cannot store the snapshot in {store.folder}: {error.strerror}",
            hint="amlexec stores the snapshots of runs there: make the folder writable",
        ) from error
    denied = re.search(r"open\(\"(.*)\"\): (Permission denied)|'(.*)': Permission denied", output)
    if denied:
        raise TargetError(
            f"{denied[1] or denied[3]} cannot be read: Permission denied",
            where=root,
            hint="make it readable, or list it in .amlignore (without one, in .gitignore)",
        ) from error
    if last:
        raise _final(error, output, store, root) from error
    if re.search(_DAMAGED, output):
        store.forget_index()
        return [f"{store.index_file} was damaged and has been made again"]
    return []


def _final(error: Exception, output: str, store: Store, root: str) -> TargetError:
    """The error to raise after the last attempt."""
    if isinstance(error, git.GitError) and error.code != -signal.SIGBUS and not re.search(_CHANGED, output):
        return damaged(error, store.folder)
    reason = output.strip().splitlines()[-1:] or [str(error)]
    return TargetError(
        f"files changed each time the snapshot was taken: {reason[0]}",
        where=root,
        hint="wait until the program that writes them is done, or list those files in .amlignore",
    )


def is_full(output: str) -> bool:
    """Whether the output of git, or the text of an error, says that no space is left."""
    return "No space left on device" in output or "Disk quota exceeded" in output


def full(folder: str | Path, place: str) -> TargetError:
    """The error for a file system without space, of which `folder` is a part."""
    free = shutil.disk_usage(folder).free / 1e6
    return TargetError(
        f"no space is left for the snapshot in {folder}: {free:,.1f} MB are free",
        where=place,
        hint="make room, or list in .amlignore what a run does not need",
    )


def damaged(error: git.GitError, folder: str | Path) -> TargetError:
    """The error of git, with what to do if the repository in `folder` is damaged."""
    if not re.search(_DAMAGED, error.output):
        return error
    return TargetError(
        f"the snapshots in {folder} are damaged: {error.message}",
        hint=f"delete {folder}: the next snapshot makes it again; snapshots of earlier runs are lost",
    )
