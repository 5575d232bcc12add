"""Content digests: of canonical values, of files and of folders with sources. All sha256, in hex."""

from __future__ import annotations

import os
import stat

from amlexec.files import open_regular
from amlexec.light_typing import TYPE_CHECKING
from amlexec.sha256 import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["canonical_json", "of_bytes", "of_file", "of_manifest", "of_tree", "sources"]


# ruff: noqa: PTH113, PTH115, PTH118, PTH122 - these run for every file of a tree

_CHUNK = 1 << 20
_LEFT_OUT = frozenset(
    [
        *(".git", ".hg", ".svn", ".amlexec", "__pycache__", ".eggs", ".tox", ".nox", ".venv", "venv"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".idea", ".vscode"),
        *("node_modules", ".DS_Store"),
    ]
)
_LEFT_OUT_AT_THE_TOP = frozenset(["build", "dist"])
"""Folders that builds make. Below the top level these are ordinary names."""
_MANIFEST = frozenset([".toml", ".cfg", ".txt", ".in"])


def canonical_json(value: object) -> bytes:
    """The canonical JSON text of `value`: keys sorted, no spaces, UTF-8."""
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def of_bytes(data: bytes) -> str:
    """The digest of `data`."""
    return sha256(data).hexdigest()


def of_file(path: str) -> str:
    """The digest of a file's content. Raises OSError."""
    with open_regular(path) as file:
        chunk = file.read(_CHUNK)
        if len(chunk) < _CHUNK:
            return of_bytes(chunk)
        import hashlib

        digest = hashlib.sha256()
        while chunk:
            digest.update(chunk)
            chunk = file.read(_CHUNK)
    return digest.hexdigest()


def sources(folder: str) -> list[str]:
    """The file names in a folder with the sources of a package, sorted and relative to it. Raises OSError.

    Without the files of builds and version control: `.git`, `__pycache__`, `*.egg-info`, `build`.
    """
    return sorted(_files(folder, ""))


def of_tree(folder: str, names: Iterable[str] | None = None) -> str:
    """The digest of a folder with the sources of a package: names, contents, executable bits, links.

    The folder's name and place, times and owners don't count. `names` are the files to include, by default
    all of `sources`. Raises OSError.
    """
    digest = sha256()
    for name in sorted(sources(folder) if names is None else names):
        path = os.path.join(folder, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            # A target inside of the folder is digested anyway; one outside is digested here.
            content = of_bytes(os.fsencode(os.readlink(path)))
            kind = f"link {of_file(path)}" if os.path.isfile(path) else "link"
        elif stat.S_ISREG(mode):
            content, kind = of_file(path), "program" if mode & 0o100 else "file"
        else:
            continue
        digest.update(f"{kind}\0{content}\0".encode() + os.fsencode(name) + b"\0")
    return digest.hexdigest()


def of_manifest(folder: str, names: Iterable[str] | None = None) -> str:
    """The digest of the files that may decide a package's name, version and dependencies.

    These are `pyproject.toml`, `setup.py`, `setup.cfg` and other configuration and text files at the top
    level of the folder, if they are in `names`.
    """
    digest = sha256()
    kept = None if names is None else set(names)
    with os.scandir(folder) as entries:
        top_level = sorted(entry.name for entry in entries if entry.is_file())
    for name in top_level:
        if kept is not None and name not in kept:
            continue
        if os.path.splitext(name)[1] in _MANIFEST or name == "setup.py":
            digest.update(os.fsencode(name) + b"\0" + of_file(os.path.join(folder, name)).encode())
    return digest.hexdigest()


def _files(folder: str, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name in _LEFT_OUT or name.endswith((".egg-info", ".pyc")):
                continue
            if not prefix and name in _LEFT_OUT_AT_THE_TOP:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{name}/")
            else:
                yield f"{prefix}{name}"
