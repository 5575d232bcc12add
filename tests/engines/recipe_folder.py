"""Folders of the parts: each is made by a recipe, names it in a file, and is made anew when it changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["filled", "is_there", "recipe", "remove", "replaced"]

_FILE = "recipe.txt"


def recipe(*files: str | None, more: str = "") -> str:
    """The digest of these modules' files, and of a text."""
    contents = [Path(file or "").read_bytes() for file in files]
    return hashlib.sha256(b"".join([*contents, more.encode()])).hexdigest()


def is_there(folder: Path, made_by: str) -> bool:
    """Whether the folder is there, made by this recipe."""
    try:
        return (folder / _FILE).read_text("utf-8") == made_by
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def replaced(folder: Path, made_by: Callable[[], str]) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` at the end of the block, unless that fails.

    The recipe is asked for at the end: some of what it names may only be there then.
    """
    new = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    try:
        with filled(new, made_by):
            yield new
        remove(folder)
        new.rename(folder)
    finally:
        remove(new)


@contextlib.contextmanager
def filled(folder: Path, made_by: Callable[[], str]) -> Iterator[Path]:
    """The folder itself, empty: for what can't be moved. If the block fails, it counts as absent."""
    remove(folder)
    folder.mkdir(parents=True)
    yield folder
    (folder / _FILE).write_text(made_by(), "utf-8")


def remove(folder: Path) -> None:
    """Remove the folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
