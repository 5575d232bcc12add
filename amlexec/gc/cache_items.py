"""The user's cache of packages, which all projects on this machine share."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import locks
from amlexec.file_trees import remove_tree
from amlexec.gc.model import CACHE, Item
from amlexec.gc.places import Outcome
from amlexec.gc.project_items import HERE
from amlexec.gc.run_facts import tree_size
from amlexec.packages import scratch
from amlexec.packages.network import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["items", "remove"]

_PARTS = ("packages", "installers", "channels", "uv")
"""Folders in the cache. Entries of the first two are removed one by one, the others as a whole."""
_WHOLE = frozenset({"channels", "uv"})
_IN_USE = "a prepare is using the cache"


def items() -> Iterator[Item]:
    """What takes disk space in the cache."""
    cache = cache_folder()
    for part in _PARTS:
        for path in [cache / part] if part in _WHOLE else _entries(cache / part):
            with contextlib.suppress(OSError):
                status = path.lstat()
                size = tree_size(str(path)) + status.st_blocks * 512
                name = path.relative_to(cache).as_posix()
                yield Item(f"cache:{name}", "cache", CACHE, HERE, str(path), size, used=status.st_mtime)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.endswith(".lock"))
    except OSError:
        return []


def remove(wanted: Sequence[Item]) -> list[Outcome]:
    """Remove entries of the cache, unless an installation is in progress."""
    cache = cache_folder()
    with scratch.paused(cache) as is_idle:
        if not is_idle:
            return [Outcome(item, _IN_USE) for item in wanted]
        # Moved away first, which takes no time: then installations may begin again.
        trash = Path(tempfile.mkdtemp(dir=cache / "staging"))
        lock = locks.take(str(trash / scratch.LOCK))
        outcomes = [Outcome(item, _moved(Path(item.name), trash)) for item in wanted]
    remove_tree(trash)
    if lock is not None:
        lock.release()
    return outcomes


def _moved(path: Path, trash: Path) -> str:
    try:
        path.rename(trash / f"{os.urandom(4).hex()}-{path.name}")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error.strerror or error)
    return ""
