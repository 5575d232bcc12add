"""Files that live as long as a process: their names say whose they are, and what is left is removed.

A process that is killed removes nothing. Whoever comes next can: the name has the machine, its space of
process numbers and the number, so that nothing of a living process is taken, and nothing of another
machine's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import time
from _thread import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_left", "lives", "owner", "publish", "remove", "sweep", "write_beside"]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_OWNER = r"(?P<place>[A-Za-z0-9-]+_[0-9a-f]+)_(?P<pid>[0-9]+)"
_BESIDE = rf"\..+\.{_OWNER}-[0-9]+\.new"
_OF_BEFORE = r".+\.(?P<pid>[0-9]+)(-[0-9]+)?\.new"
"""Such files as earlier versions made them."""
_LEFT_AGE_S = 86400.0
"""After so long, nobody on another machine is still writing a file of a few lines."""


def owner() -> str:
    """This process, as part of a file's name: letters, digits, `-` and `_`."""
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
    """Write a new file beside `path`, whole, under a name that nothing reads; that name.

    What a killed process leaves of it `sweep` removes. Parameters as of `files.write_atomically`.
    """
    folder, slash, name = os.fspath(path).rpartition("/")
    # Of a long name only the beginning, or this one would be too long.
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
    except BaseException:
        remove(beside)
        raise
    return beside


def publish(beside: str, path: str | os.PathLike[str]) -> None:
    """Let what `write_beside` has written be `path` too, where nothing is yet. It is still `beside`, or not.

    Raises:
        FileExistsError: something is there, be it a broken link.
        OSError: it can't be made.
    """
    # A rename would replace what another process has put there in the meantime; a link fails instead.
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError as error:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path)) from error
        os.rename(beside, path)  # some network and removable file systems have no hard links # noqa: PTH104


def remove(beside: str) -> None:
    """Remove what `write_beside` has written, where it is still under that name."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # noqa: PTH108


def is_left(name: str, age: float) -> bool:
    """Whether a file or folder of that name, with `owner` in it, is of a process that is gone.

    `age` (seconds since it was last changed) decides where it is of another machine.
    """
    import re

    found = re.search(_OWNER, name)
    if found is None:
        return False
    if found["place"] != _place():
        return age > _LEFT_AGE_S
    return not lives(int(found["pid"]))


def lives(pid: int) -> bool:
    """Whether there is a process of that number here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def sweep(folder: str | os.PathLike[str]) -> int:
    """Remove what writers that were killed have left in a folder (see `write_beside`); how many."""
    gone = 0
    for entry in _entries(folder):
        with contextlib.suppress(OSError):  # somebody else was faster, or may not
            if _is_temporary(entry):
                os.unlink(entry.path)  # noqa: PTH108 - likewise
                gone += 1
    return gone


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
