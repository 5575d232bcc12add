"""Which files a project declares itself in, without reading again what has not changed.

doit asks for that whatever it is told to do, and the reader of YAML takes longer to load than all the rest.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, cast

from amlexec import __version__
from amlexec.reading import cache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.model import Project

__all__ = ["files"]

# ruff: noqa: PTH113, PTH123, PTH208 - names and bytes, no paths to work with


def files(project: Project) -> list[str]:
    """What `lint.files` says: the project's declarations, sorted, relative to its root."""
    entry = _entry(project)
    known = cast("Mapping[str, list[str]] | None", entry and cache.load(project.state, entry))
    if known is None:
        from amlexec import lint

        known = {"files": lint.files(project, absent=True)}
        if entry:
            cache.store(project.state, entry, known)
    # A file that is referred to comes and goes without a change to what refers to it.
    return [file for file in known["files"] if os.path.isfile(f"{project.root}/{file}")]


def _entry(project: Project) -> str:
    """The name under which the answer is remembered: what it follows from. "" where that can't be read."""
    digest = sha256(__version__.encode())
    for name in sorted(os.listdir(project.configuration)):
        path = f"{project.configuration}/{name}"
        if not os.path.isfile(path):
            continue
        digest.update(sha256(os.fsencode(name)).digest())
        if name.casefold().endswith(".runconfig"):
            try:
                with open(path, "rb") as file:
                    digest.update(sha256(file.read()).digest())
            except OSError:
                return ""
    return f"files-{digest.hexdigest()}"
