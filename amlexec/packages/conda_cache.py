"""The cache of conda packages: which are missing from it, or damaged in it.

`conda_remote` also sends this module to a Python on another machine, so it imports only the standard library
and rattler.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rattler import RepoDataRecord

__all__ = ["lacking", "sha256_of", "stem"]

_CHUNK = 1 << 20


async def lacking(records: Sequence[RepoDataRecord], cache: Path) -> list[str]:
    """The file names of packages that are missing from the cache, or incomplete in it."""
    from rattler.package_cache import PackageCache

    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    index = await PackageCache(cache).index()
    return [
        record.file_name
        for record in records
        if not index.contains_record(record) or not _is_whole(cache / stem(record.file_name))
    ]


def stem(file_name: str) -> str:
    """rattler's name for the folder of a package, and for its record in a prefix."""
    for ending in (".conda", ".tar.bz2"):
        if file_name.endswith(ending):
            return file_name[: -len(ending)]
    return file_name


def _is_whole(folder: Path) -> bool:
    """Whether an unpacked package has all the files in its own list."""
    try:
        json.loads((folder / "info/index.json").read_text("utf-8"))
        if not (folder / "info/paths.json").exists():  # an old package
            return all((folder / name).exists() for name in (folder / "info/files").read_text().splitlines())
        entries = json.loads((folder / "info/paths.json").read_text("utf-8"))["paths"]
        return all(_is_intact(folder / entry["_path"], entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_intact(path: Path, entry: Mapping[str, Any]) -> bool:
    if entry.get("path_type") != "hardlink":
        return os.path.lexists(path)
    if entry.get("size_in_bytes", path.stat().st_size) != path.stat().st_size:
        return False
    return entry.get("sha256") in {None, sha256_of(path)}


def sha256_of(path: Path) -> str:
    """The digest of a file's content. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
