"""Files that live as long as a process: their names say whose they are, and what is left is removed.

A process that is killed removes nothing. Whoever comes next can: the name has the machine, its space of
process numbers and the number, so that nothing of a living process is taken, and nothing of another
machine's.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_left", "lives", "owner", "sweep"]

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_OWNER = r"(?P<place>[A-Za-z0-9-]+_[0-9a-f]+)_(?P<pid>[0-9]+)"
_BESIDE = rf"\..+\.{_OWNER}-[0-9]+\.new"
_OF_BEFORE = r".+\.(?P<pid>[0-9]+)(-[0-9]+)?\.new"
"""Such files as earlier versions made them."""
_LONG_S = 86400.0
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


def is_left(name: str, age: float) -> bool:
    """Whether a file or folder of that name, with `owner` in it, is of a process that is gone.

    `age` (seconds since it was last changed) decides where it is of another machine.
    """
    import re

    found = re.search(_OWNER, name)
    if found is None:
        return False
    if found["place"] != _place():
        return age > _LONG_S
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
    """Remove what writers that were killed have left in a folder (see `files.write_atomically`); how many."""
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
