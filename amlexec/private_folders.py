"""Private folders, also in shared places where other users may take the name first.

A folder of another user, a link, or a folder that others can enter is never used. That is no error: another
place is tried.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["close_to_others", "first_of", "is_private", "make", "opener"]


_STATE = ".amlexec"


def first_of(wanted: Iterable[Path], name: str, longest: int = 4096) -> Path:
    """The first of these folders that is private, made if missing.

    If none is, a new folder in /tmp, which all processes of the user on this machine find by a file in the
    cache; else one of that `name` in the cache. Paths have at most `longest` bytes.

    Raises:
        TargetError: no private folder can be made.
    """
    for path in wanted:
        if len(os.fsencode(path)) <= longest and is_private(path):
            return path
    import socket
    import tempfile
    from pathlib import Path

    import platformdirs

    from amlexec.errors import TargetError

    # /tmp, because a home may be shared by machines, and the cache may not support sockets or locks.
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
            f"no private folder can be made: {error.strerror}",
            where="/tmp",  # noqa: S108
            hint="set XDG_RUNTIME_DIR to a private folder with a short path",
        ) from None
    return _note(note, made)


def is_private(path: Path) -> bool:
    """Whether `path` is a private folder of this user; makes it if it is missing."""
    try:
        above = path.parent.stat()
        # The owner of the parent could replace the folder.
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
    """Make a folder and its missing parents, all private; existing ones stay as they are.

    Raises:
        OSError: it can't be made.
    """
    path = os.fspath(folder)
    missing = []
    while not os.path.isdir(path):  # noqa: PTH112 - every command runs this
        missing.append(path)
        above = os.path.dirname(path) or "."  # noqa: PTH120
        if above == path:
            break
        path = above
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each, 0o700)  # noqa: PTH102
            if os.path.basename(each) == _STATE:  # noqa: PTH119
                _keep_from_git(each)
    if missing and not os.path.isdir(folder):  # noqa: PTH112
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(folder))


def _keep_from_git(state: str) -> None:
    """Hide a project's state from `git status`, even if the project has no ignore rules."""
    with open(f"{state}/.gitignore", "w", encoding="utf-8", opener=opener) as file:
        file.write("# Made by amlexec: nothing in here belongs in a repository.\n*\n")


def opener(path: str, flags: int) -> int:
    """For `open(…, opener=opener)`: a new file is private."""
    return os.open(path, flags, 0o600)


def close_to_others(folder: str | os.PathLike[str]) -> None:
    """Remove the permissions of other users from a folder of this user; those of its group stay."""
    with contextlib.suppress(OSError):
        status = os.lstat(folder)
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and status.st_mode & 0o007:
            os.chmod(folder, stat.S_IMODE(status.st_mode) & ~0o007)  # noqa: PTH101


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _noted(note: Path) -> Path | None:
    """The folder in a note of this user, if it still exists and is private."""
    from pathlib import Path

    try:
        if note.lstat().st_uid != os.getuid() or not stat.S_ISREG(note.lstat().st_mode):
            return None
        folder = Path(note.read_text("utf-8").strip())
        return folder if folder.is_absolute() and _is_ours(folder) else None
    except (OSError, ValueError):
        return None


def _note(note: Path, made: Path) -> Path:
    """Note a folder for other processes; one that another process has noted meanwhile takes precedence."""
    # Not `files.write_atomically`: the second process uses the first one's note, and does not replace it.
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
            beside.replace(note)  # the old note names a removed folder
    except OSError:
        # The cache can't be written, so only this process knows the folder.
        return made
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return made
