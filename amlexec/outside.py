"""Unfinished files and folders outside the project, noted in the project so that a clean-up finds them.

What a user wants elsewhere is made beside its place and renamed when it is whole. A killed process removes
nothing; the next command can, because the note has the path, and the path has the name of the process.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import private_folders, temporaries
from amlexec.file_trees import remove_tree
from amlexec.files import SMALL, read_regular, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.values import Project

__all__ = ["beside", "left", "remove_left"]

_NOTES = "outside"
"""The folder of the notes, below the project's state."""
_NOTE = re.compile(r"[A-Za-z0-9-]+_[0-9a-f]+_[0-9]+-[0-9a-f]{8}")


@contextlib.contextmanager
def beside(project: Project, to: Path) -> Iterator[Path]:
    """A new path beside `to`, for what becomes `to`. What has that path at the end is removed."""
    remove_left(project)
    name = f"{temporaries.owner()}-{os.urandom(4).hex()}"
    path = to.parent / f".{to.name[:40]}.{name}.new"
    note = Path(project.state, _NOTES, name)
    # A project that can't be written still gives its files away; only a crash would leave something then.
    with contextlib.suppress(OSError):
        private_folders.make(note.parent)
        write_atomically(note, os.fspath(path))
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            remove_tree(path)
            note.unlink(missing_ok=True)


def left(project: Project) -> list[Path]:
    """What killed processes left outside the project."""
    return [path for _, path in _left(project) if path is not None and os.path.lexists(path)]


def remove_left(project: Project) -> None:
    """Remove it. What can't be removed now stays noted."""
    for note, path in _left(project):
        with contextlib.suppress(OSError):
            if path is not None:
                remove_tree(path)
            note.unlink(missing_ok=True)


def _left(project: Project) -> Iterator[tuple[Path, Path | None]]:
    """The notes of killed processes, and the paths in them; None for a note that amlexec has not written.

    A path is only believed if its name ends as that of its note: a stranger's project can't name any other.
    """
    folder = Path(project.state, _NOTES)
    try:
        names = sorted(os.listdir(folder)) if not folder.is_symlink() else []  # noqa: PTH208 - names
    except OSError:
        return
    for name in names:
        note = folder / name
        with contextlib.suppress(OSError):
            temporary = name.startswith(".") and name.endswith(".new")
            if not temporary and not _NOTE.fullmatch(name):
                continue
            if not temporaries.is_left(name, _age(note)):
                continue
            path = None if temporary else Path(os.fsdecode(read_regular(note, SMALL, follow=False)))
            believed = path is not None and path.is_absolute() and path.name.endswith(f".{name}.new")
            yield note, path if believed else None


def _age(note: Path) -> float:
    import time

    return time.time() - note.lstat().st_mtime
