"""A cache of the readings of valid files, keyed by content, so that a run need not parse them again.

An entry's name is the sha256 of its inputs: file kind, content, schema, version. An entry is JSON, written
atomically. Nothing depends on it: an unreadable entry is made again, and a read-only folder is no error.
"""

from __future__ import annotations

import os
from functools import lru_cache

from amlexec import __version__, private_folders
from amlexec.config import schemas
from amlexec.files import read_regular, touch, write_atomically
from amlexec.light_typing import TYPE_CHECKING
from amlexec.sha256 import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.config.generations import Reading

__all__ = ["load", "name", "store", "sweep"]

_FOLDER = "cache"
_DAY = 86_400.0
_KEPT_DAYS = 30
"""How long an unused entry stays."""
_SWEPT = ".swept"
"""Touched when old entries were last removed."""
_LARGEST = 16 << 20
_FORM = 2
"""Raise it when the form of a Reading changes."""


def name(kind: str, data: bytes) -> str:
    """The entry's name for a file of this kind with the content `data`."""
    digest = sha256(f"{_FORM} {__version__} {kind}\0".encode())
    digest.update(_of_schema(kind))
    if kind == schemas.RUNCONFIG:
        # A camelCase file describes its compute target too.
        digest.update(_of_schema(schemas.COMPUTE))
    digest.update(data)
    return digest.hexdigest()


@lru_cache
def _of_schema(kind: str) -> bytes:
    return sha256(schemas.text(kind)).digest()


def load(state: str, entry: str) -> Reading | None:
    """The cached reading from the project's state folder, or None."""
    import json

    path = f"{state}/{_FOLDER}/{entry}.json"
    try:
        content = json.loads(read_regular(path, _LARGEST, follow=False))
        if _age(path) > _DAY:
            os.utime(path)  # marks it as used: see `sweep`
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("entry") == entry else None


def sweep(state: str, unused: float) -> int:
    """Remove entries not used for `unused` seconds; returns how many. Each edit of a file leaves an entry.

    Raises:
        OSError: something can't be removed.
    """
    folder = f"{state}/{_FOLDER}"
    removed = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and _age(entry.path) > unused:
                    os.unlink(entry.path)  # noqa: PTH108
                    removed += 1
    except FileNotFoundError:
        pass  # no entries, or another process is removing them too
    return removed


def _age(path: str) -> float:
    import time

    return time.time() - os.lstat(path).st_mtime


def _sweep_sometimes(state: str) -> None:
    """Once a day, when an entry is added."""
    marker = f"{state}/{_FOLDER}/{_SWEPT}"
    try:
        if _age(marker) < _DAY:
            return
        os.utime(marker, follow_symlinks=False)
    except FileNotFoundError:
        touch(marker)
    sweep(state, _KEPT_DAYS * _DAY)


def store(state: str, entry: str, reading: Mapping[str, object]) -> None:
    """Cache a reading, unless it holds a secret: a cached secret would outlive its line in the file."""
    import json

    if _has_secret(reading):
        return

    try:
        private_folders.make(f"{state}/{_FOLDER}")
        text = json.dumps({**reading, "entry": entry})
        write_atomically(f"{state}/{_FOLDER}/{entry}.json", text, durable=False)
        _sweep_sometimes(state)
    except OSError:
        pass  # a full disk, or a project that belongs to another user: the next run parses the file again


def _has_secret(reading: Mapping[str, object]) -> bool:
    from amlexec import redaction

    run = reading.get("runconfig")
    variables = run.get("environment_variables", ()) if isinstance(run, dict) else ()
    return any(value and redaction.is_secret(name) for name, value in variables)
