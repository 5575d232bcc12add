"""Which files a project declares itself in, without reading again what has not changed.

doit asks for that whatever it is told to do, and the reader of YAML takes longer to load than all the rest.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from amlexec import __version__
from amlexec.config import cache, schemas
from amlexec.config.schemas import kind_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amlexec.model import Project

__all__ = ["files", "kinds"]

# ruff: noqa: PTH113, PTH118, PTH123, PTH208 - names and bytes, no paths to work with

Referred = list[tuple[str, str]]
"""Files relative to a project's root, each with its kind."""

_ENTRY = "references"
"""The name under which it is remembered what run configurations refer to, by the digests of their content."""


def files(project: Project) -> list[str]:
    """What `lint.files` says: the project's declarations, sorted, relative to its root."""
    return sorted(kinds(project, _read))


def kinds(project: Project, read: Callable[[str], Referred]) -> dict[str, str]:
    """The project's declarations, relative to its root, with their kinds (see `amlexec.config.schemas`).

    `read` says what a run configuration refers to, as `lint.Linter.referred` does.
    """
    found: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name in sorted(os.listdir(project.configuration)):
        path = f"{project.configuration}/{name}"
        kind = kind_by_name(path)
        if kind and os.path.isfile(path):
            found[f"{project.folder}/{name}"] = kind
            if kind == schemas.RUNCONFIG:
                digests[path] = _digest(path)
    for other, kind in _referred(project, digests, read):
        # A file that is referred to comes and goes without a change to what refers to it.
        if other not in found and os.path.isfile(os.path.join(project.root, other)):
            found[other] = kind
    return found


def _referred(
    project: Project, digests: Mapping[str, str], read: Callable[[str], Referred]
) -> set[tuple[str, str]]:
    """What run configurations refer to, with the kinds; only those are read whose content is new."""
    remembered = cast("Mapping[str, Any]", cache.load(project.state, _ENTRY) or {})
    known = remembered.get("known", {}) if remembered.get("version") == __version__ else {}
    told: dict[str, list[list[str]]] = {}
    for path, digest in digests.items():
        if digest not in told:
            told[digest] = known[digest] if digest in known else [list(one) for one in read(path)]
    if told.keys() != known.keys():
        cache.store(project.state, _ENTRY, {"version": __version__, "known": told})
    return {(other, kind) for each in told.values() for other, kind in each}


def _read(path: str) -> Referred:
    from amlexec.config import lint

    return lint.referred(path)


def _digest(path: str) -> str:
    """Of a file's content; of one that can't be read, its path."""
    try:
        with open(path, "rb") as file:
            return sha256(file.read()).hexdigest()
    except OSError:
        return path
