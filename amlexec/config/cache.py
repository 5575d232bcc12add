"""What a file without violations says, remembered by its bytes, so that a run need not read it again.

An entry's name is the sha256 of everything that it follows from: file kind, content, schema, version. It
is JSON, written beside and renamed, so that it is whole or not there. Nothing depends on it: an entry
that can't be read is made anew, and a folder that can't be written is no error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec import __version__, private_folders, temporaries
from amlexec.config import schemas
from amlexec.files import read_regular, touch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.config.generations import Reading

__all__ = ["load", "name", "store", "sweep"]

_FOLDER = "cache"
_DAY = 86_400.0
_KEPT_DAYS = 30
"""How long an entry stays that nobody asks for."""
_SWEPT = ".swept"
"""Touched when old entries were last removed."""
_LARGEST = 16 << 20
_FORM = 2
"""Goes up when the form of a Reading changes."""


def name(kind: str, data: bytes) -> str:
    """The name under which the reading of `data` is remembered."""
    from hashlib import sha256

    digest = sha256(f"{_FORM} {__version__} {kind}\0".encode())
    digest.update(sha256(schemas.text(kind)).digest())
    if kind == schemas.RUNCONFIG:
        # A camelCase file describes its compute target too.
        digest.update(sha256(schemas.text(schemas.COMPUTE)).digest())
    digest.update(data)
    return digest.hexdigest()


def load(state: str, entry: str) -> Reading | None:
    """The reading that is remembered in the project's state folder, or None."""
    import json

    path = f"{state}/{_FOLDER}/{entry}.json"
    try:
        found = json.loads(read_regular(path, _LARGEST, follow=False))
        if _age(path) > _DAY:
            os.utime(path)  # it is of use: see `sweep`
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("entry") == entry else None


def sweep(state: str, unused: float) -> int:
    """Remove what nobody has used for `unused` seconds, each edit of a file having left an entry; how many.

    Raises:
        OSError: something can't be removed.
    """
    folder = f"{state}/{_FOLDER}"
    gone = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and _age(entry.path) > unused:
                    os.unlink(entry.path)  # noqa: PTH108
                    gone += 1
    except FileNotFoundError:
        pass  # there is none, or another process is removing it too
    return gone


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
    """Remember a reading, unless there is a secret in it: that would outlive the line that it stood in."""
    import json

    if _has_secret(reading):
        return

    path = f"{state}/{_FOLDER}/{entry}.json"
    folder, _, last = path.rpartition("/")
    beside = f"{folder}/.{last}.{temporaries.owner()}-0.new"
    try:
        private_folders.make(f"{state}/{_FOLDER}")
        with open(beside, "w", encoding="utf-8", opener=private_folders.opener) as file:
            json.dump({**reading, "entry": entry}, file)
        os.replace(beside, path)  # noqa: PTH105
        _sweep_sometimes(state)
    except OSError:
        # A full disk or a project that belongs to somebody else: the next run reads the file again.
        _remove(beside)


def _has_secret(reading: Mapping[str, object]) -> bool:
    from amlexec import redaction

    run = reading.get("runconfig")
    variables = run.get("environment_variables", ()) if isinstance(run, dict) else ()
    return any(value and redaction.is_secret(name) for name, value in variables)


def _remove(path: str) -> None:
    from contextlib import suppress

    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108
