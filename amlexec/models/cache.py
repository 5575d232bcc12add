"""Files of models from elsewhere, on this computer: below the cache, by the digest of the model."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from amlexec import private_folders
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.models import new_folder
from amlexec.models.content import changed
from amlexec.models.folder_store import damaged
from amlexec.packages.network import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.models.content import Content, File

__all__ = ["filled", "write"]

_CHUNK = 1 << 20


def filled(content: Content, place: str, fill: Callable[[Path], None]) -> Path:
    """The folder of the cache with the files of a model; `fill` writes them into a new one if it has none.

    `place` is what messages call their origin.

    Raises:
        TargetError: they are not those that were registered, or the cache can't be written.
    """
    parent = cache_folder() / "models"
    folder = parent / content.digest
    if folder.is_dir() and not changed(folder, content):
        return folder
    beside = new_folder.beside(folder)
    try:
        private_folders.make(parent)
        new_folder.sweep(parent)
        beside.mkdir(mode=0o700)
        fill(beside)
        if what := changed(beside, content):
            raise damaged(place, what)
        new_folder.publish(beside, folder, content)
    except OSError as error:
        raise TargetError(
            f"the model can't be copied to this computer: {error.strerror or error}",
            where=str(error.filename or parent),
            hint="free some space, or set AMLEXEC_CACHE to another folder",
        ) from error
    finally:
        if beside.exists():
            remove_tree(beside)
    return folder


def write(source: IO[bytes], folder: Path, file: File) -> None:
    """Write a file of a model into a new folder; no more bytes than it had. `filled` compares them.

    Raises:
        OSError: it can't be written.
    """
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    left = file.size
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as copy:
        while chunk := source.read(_CHUNK):
            copy.write(chunk)
            left -= len(chunk)
            if left < 0:
                break
        if file.executable:
            os.fchmod(descriptor, 0o500)
