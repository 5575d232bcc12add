"""Folders that only their owner can enter, in places where others may make some of the same name first.

A folder of another user, a link, or one that others can enter is left alone, and is no error: there is
always another place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["close_to_others", "first_of", "is_private", "make", "opener"]


_STATE = ".amlexec"


def first_of(wanted: Iterable[Path], name: str, longest: int = 4096) -> Path:
    """The first of these folders, made where it is missing, that is ours alone.

    Where none can be, a new one in /tmp, which all processes of the user on this machine find by a file in
    the cache; else one of that `name` in the cache. Paths have no more than `longest` bytes.

    Raises:
        TargetError: none can be made at all.
    """
    for path in wanted:
        if len(os.fsencode(path)) <= longest and is_private(path):
            return path
    import socket
    import tempfile
    from pathlib import Path

    import platformdirs

    from amlexec.errors import TargetError

    # A home may be on several machines, and the cache on a file system without sockets or locks: not so /tmp.
    cache = platformdirs.user_cache_path("amlexec", appauthor=False)
    note = cache / f".{name}-{os.getuid()}-{socket.gethostname()[:100]}"
    if (noted := _noted(note)) is not None:
        return noted
    try:
        made = Path(tempfile.mkdtemp(prefix=f"amlexec-{os.getuid()}-", dir="/tmp"))
    except OSError as error:
        beside = cache / name
        with contextlib.suppress(OSError):
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if len(os.fsencode(beside)) <= longest and is_private(beside):
            return beside
        raise TargetError(
            f"no folder can be made that is ours alone: {error.strerror}",
            where="/tmp",  # noqa: S108
            hint="set XDG_RUNTIME_DIR to a folder of your own with a short path",
        ) from None
    return _note(note, made)


def is_private(path: Path) -> bool:
    """Whether `path` is a folder of ours that nobody else can enter; it is made where it is missing."""
    try:
        above = path.parent.stat()
        # Whoever owns the folder above may put another in its place.
        if above.st_uid not in {0, os.getuid()} or (
            above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
        ):
            return False
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        return _is_ours(path)
    except OSError:
        return False


def make(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it that are missing, each for its owner alone; one that is there stays.

    Raises:
        OSError: it can't be made.
    """
    path = os.fspath(folder)
    missing = []
    while not os.path.isdir(path):  # noqa: PTH112 - this is on the way of every command
        missing.append(path)
        above = os.path.dirname(path) or "."  # noqa: PTH120
        if above == path:
            break
        path = above
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(one, 0o700)  # noqa: PTH102
            if os.path.basename(one) == _STATE:  # noqa: PTH119
                _keep_from_git(one)
    if missing and not os.path.isdir(folder):  # noqa: PTH112
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(folder))


def _keep_from_git(state: str) -> None:
    """A project's state never shows in `git status`, also where the project has no ignore rules."""
    with open(f"{state}/.gitignore", "w", encoding="utf-8", opener=opener) as file:
        file.write("# Made by amlexec: nothing in here belongs in a repository.\n*\n")


def opener(path: str, flags: int) -> int:
    """For `open(…, opener=opener)`: a file that is made so is for its owner alone."""
    return os.open(path, flags, 0o600)


def close_to_others(folder: str | os.PathLike[str]) -> None:
    """Take back what a folder of ours allows to all the world; what it allows to a group stays."""
    with contextlib.suppress(OSError):
        found = os.lstat(folder)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and found.st_mode & 0o007:
            os.chmod(folder, stat.S_IMODE(found.st_mode) & ~0o007)  # noqa: PTH101


def _is_ours(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _noted(note: Path) -> Path | None:
    """The folder that a note of ours names, if it is still there and ours."""
    from pathlib import Path

    try:
        if note.lstat().st_uid != os.getuid() or not stat.S_ISREG(note.lstat().st_mode):
            return None
        found = Path(note.read_text("utf-8").strip())
        return found if found.is_absolute() and _is_ours(found) else None
    except (OSError, ValueError):
        return None


def _note(note: Path, made: Path) -> Path:
    """Let other processes find a folder; the one that another process has noted meanwhile goes first."""
    # Not `files.write_atomically`: who comes second takes the first one's folder, and does not replace it.
    beside = note.with_name(f"{note.name}.{made.name}")
    try:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.write_text(f"{made}\n", "utf-8")
        try:
            os.link(beside, note)
        except FileExistsError:
            if (noted := _noted(note)) is not None:
                made.rmdir()
                return noted
            beside.replace(note)  # of a folder that is gone
    except OSError:
        # No cache can be written: this process has the folder for itself.
        return made
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return made
