"""Temporary files that name their process, so that later processes can remove leftovers.

A killed process removes nothing. The next one can: a name has the machine, its PID namespace and the PID, so
that files of living processes, and of other machines, are kept.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import time
from _thread import get_ident

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_left", "lives", "owner", "publish", "remove", "sweep", "write_beside"]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_OWNER = r"(?P<place>[A-Za-z0-9-]+_[0-9a-f]+)_(?P<pid>[0-9]+)"
_BESIDE = rf"\..+\.{_OWNER}-[0-9]+\.new"
_OF_BEFORE = r".+\.(?P<pid>[0-9]+)(-[0-9]+)?\.new"
"""The names of such files in earlier versions."""
_LEFT_AGE_S = 86400.0
"""After this time, no process on another machine is still writing a file of a few lines."""


def owner() -> str:
    """The name of this process for file names: letters, digits, `-` and `_`."""
    return f"{_place()}_{os.getpid()}"


@functools.lru_cache(maxsize=1)
def _place() -> str:
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - one import less
    except OSError:  # not Linux
        space = 0
    name = "".join(letter if letter in _LETTERS else "-" for letter in os.uname().nodename[:60])
    return f"{name or 'here'}_{space:x}"


def write_beside(
    path: str | os.PathLike[str],
    content: str | bytes,
    *,
    mode: int = 0o600,
    exact_mode: bool = False,
    durable: bool = True,
) -> str:
    """Write a new file beside `path`, under a name that nothing reads; returns the name.

    `sweep` removes it after the process was killed. Parameters are those of `files.write_atomically`.
    """
    folder, slash, name = os.fspath(path).rpartition("/")
    # Shortened, because the new name could become too long.
    beside = f"{folder}{slash}.{name[:40]}.{owner()}-{get_ident()}.new"
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            if exact_mode:
                os.fchmod(descriptor, mode)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(descriptor)
    except BaseException as error:
        with contextlib.suppress(OSError):  # why it can't be written is what counts
            remove(beside)
        if isinstance(error, OSError) and error.filename == beside:
            error.filename = os.fspath(path)  # the other name says nothing to a user
        raise
    return beside


def publish(beside: str, path: str | os.PathLike[str]) -> None:
    """Publish a file of `write_beside` as the new file `path`. `beside` may still exist afterwards.

    Raises:
        FileExistsError: `path` exists, even as a broken link.
        OSError: it can't be made.
    """
    # A rename would replace a file that another process made meanwhile; a hard link fails instead.
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError as error:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path)) from error
        os.rename(beside, path)  # some file systems don't support hard links # noqa: PTH104


def write_new(path: str | os.PathLike[str], content: str | bytes, *, mode: int, durable: bool = True) -> bool:
    """Write a new file atomically; False if the path exists, even as a broken link."""
    beside = write_beside(path, content, mode=mode, durable=durable)
    try:
        publish(beside, path)
    except FileExistsError:
        return False
    finally:
        remove(beside)
    return True


def remove(beside: str) -> None:
    """Remove a file of `write_beside`, if it still has that name."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # noqa: PTH108


def is_left(name: str, age: float) -> bool:
    """Whether a file or folder, with `owner` in its name, belongs to a process that has ended.

    On another machine, `age` (seconds since the last change) decides.
    """
    import re

    match = re.search(_OWNER, name)
    if match is None:
        return False
    if match["place"] != _place():
        return age > _LEFT_AGE_S
    return not lives(int(match["pid"]))


def lives(pid: int) -> bool:
    """Whether a process with that PID exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove leftovers of killed writers in a folder (see `write_beside`); returns how many."""
    removed = 0
    for entry in _entries(folder):
        with contextlib.suppress(OSError):  # another process removed it, or no permission
            if _is_temporary(entry):
                os.unlink(entry.path)  # noqa: PTH108 - likewise
                removed += 1
    return removed


def _entries(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from entries


def _is_temporary(entry: os.DirEntry[str]) -> bool:
    if not entry.name.endswith(".new") or not entry.is_file(follow_symlinks=False):
        return False
    import re

    if re.fullmatch(_BESIDE, entry.name):
        return is_left(entry.name, time.time() - entry.stat(follow_symlinks=False).st_mtime)
    before = re.fullmatch(_OF_BEFORE, entry.name)
    return before is not None and not lives(int(before["pid"]))
