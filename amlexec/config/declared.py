"""The declaration files of a project, without parsing unchanged files again.

Every doit command needs this list, and importing the YAML parser takes longer than all the rest.
"""

from __future__ import annotations

import os
from typing import cast

from amlexec import __version__
from amlexec.config import cache, schemas
from amlexec.config.schemas import kind_by_name
from amlexec.light_typing import TYPE_CHECKING
from amlexec.sha256 import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from amlexec.values import Project

__all__ = ["files", "kinds"]

# ruff: noqa: PTH113, PTH118, PTH123, PTH208 - names and bytes, no paths to work with

Referred = list[tuple[str, str]]
"""Files relative to a project's root, each with its kind."""

_ENTRY = "references"
"""The cache entry with what run configurations refer to, by the digests of their content."""


def files(project: Project) -> list[str]:
    """The project's declarations, sorted, relative to its root; those of `Linter.kinds`."""
    return sorted(kinds(project, _read))


def kinds(project: Project, read: Callable[[str], Referred]) -> dict[str, str]:
    """The project's declarations, relative to its root, with their kinds (see `amlexec.config.schemas`).

    `read` returns what a run configuration refers to, as `lint.Linter.referred` does.
    """
    declarations: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name in sorted(os.listdir(project.configuration)):
        path = f"{project.configuration}/{name}"
        kind = kind_by_name(path)
        if kind and os.path.isfile(path):
            declarations[f"{project.folder}/{name}"] = kind
            if kind == schemas.RUNCONFIG:
                digests[path] = _digest(path)
    for other, kind in _referred(project, digests, read):
        # A file that is referred to can appear or vanish while the run configuration stays the same.
        if other not in declarations and os.path.isfile(os.path.join(project.root, other)):
            declarations[other] = kind
    return declarations


def _referred(
    project: Project, digests: Mapping[str, str], read: Callable[[str], Referred]
) -> set[tuple[str, str]]:
    """What run configurations refer to, with the kinds; reads only run configurations with new content."""
    entry = cast("Mapping[str, Any]", cache.load(project.state, _ENTRY) or {})
    cached = entry.get("known", {}) if entry.get("version") == __version__ else {}
    referred: dict[str, list[list[str]]] = {}
    for path, digest in digests.items():
        if digest not in referred:
            referred[digest] = cached[digest] if digest in cached else [list(file) for file in read(path)]
    if referred.keys() != cached.keys():
        cache.store(project.state, _ENTRY, {"version": __version__, "known": referred})
    return {(other, kind) for files in referred.values() for other, kind in files}


def _read(path: str) -> Referred:
    from amlexec.config import lint

    return lint.referred(path)


def _digest(path: str) -> str:
    """The digest of a file's content; for an unreadable file, its path."""
    try:
        with open(path, "rb") as file:
            return sha256(file.read()).hexdigest()
    except OSError:
        return path
