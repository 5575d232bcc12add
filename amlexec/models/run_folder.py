"""The folder of a run with the registered models that go with it, here and wherever it goes.

It has the form of a registry (see `store.py`) with these versions alone: `amlexec.model.path_of` reads it as
any other. On this computer its `contents` are links to the files; with the run go the files themselves.
"""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FOLDER", "add_to", "contents", "skeleton"]

FOLDER = "models"
"""Its name in the run's folder."""


def contents(folder: Path) -> list[tuple[str, Path]]:
    """The path of each folder of `contents`, and where it really is; none if the run has no models."""
    if not folder.is_dir():
        return []
    found = sorted((folder / "contents").iterdir())
    return [(f"contents/{each.name}", each.resolve()) for each in found]


def skeleton(folder: Path, into: Path) -> None:
    """Copy the folder, if it exists, with an empty folder in place of each model's files. Raises OSError."""
    if not folder.is_dir():
        return
    import shutil

    shutil.copytree(folder / "names", into / "names")
    for name, _ in contents(folder):
        (into / name).mkdir(mode=0o700, parents=True)


def add_to(folder: Path, name: str) -> Callable[[tarfile.TarFile], object]:
    """Adds the folder, if it exists, with all files to an archive, as `name`."""

    def add(archive: tarfile.TarFile) -> None:
        for inner, path in [("names", folder / "names"), *contents(folder)] if folder.is_dir() else []:
            archive.add(path, f"{name}/{inner}", filter=_own)

    return add


def _own(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    # Whoever unpacks it must be able to remove it, and the script should not change it by mistake.
    entry.mode = 0o700 if entry.isdir() else 0o400 | entry.mode & 0o100
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
