"""Files that a run writes outside its copy of the project: metrics, tags, uploads, and its Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.files import open_to_append, read_regular
from amlexec.targets import python_used
from amlexec.targets.outputs import bring
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.history.paths import RunPaths

__all__ = ["FILES", "put_in_place"]

TAGS = "tags.jsonl"
FILES = ("metrics.jsonl", TAGS, "models.jsonl", *python_used.FILES)
_LARGEST_TAGS = 16 << 20
"""In bytes."""


def put_in_place(folder: Path, paths: RunPaths, aliases: Sequence[str]) -> list[NotCollected]:
    """Move these files from `folder` into the run's local folder; returns what was not collected.

    Only regular files are moved; `aliases` are the absolute paths that the folder had for the script.
    """
    missing = []
    for name in FILES:
        path = folder / name
        if not path.is_file() or path.is_symlink():
            continue
        if name != TAGS:
            path.replace(paths.folder / name)
        elif path.stat().st_size > _LARGEST_TAGS:
            missing.append(NotCollected(name, f"it is larger than {_LARGEST_TAGS >> 20} MB", kept=True))
        else:
            _add_tags(path, paths)
    return missing + bring(folder, paths.outputs, aliases)


def _add_tags(path: Path, paths: RunPaths) -> None:
    """Add the script's tags to those that were set on this computer. Idempotent: lines contain the time."""
    try:
        present = set(read_regular(paths.tags, _LARGEST_TAGS, follow=False).split(b"\n"))
    except FileNotFoundError:
        present = set()
    lines = read_regular(path, _LARGEST_TAGS, follow=False).split(b"\n")
    new = [line for line in lines if line not in present and line]
    if new:
        descriptor = open_to_append(paths.tags)
        try:
            os.write(descriptor, b"\n".join([b"", *new, b""]))
        finally:
            os.close(descriptor)
    path.unlink()
