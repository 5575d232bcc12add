"""Files that a run writes outside its copy of the project: metrics, uploads, and its Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.targets import python_used
from amlexec.targets.outputs import bring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.model import NotCollected

__all__ = ["FILES", "put_in_place"]

FILES = ("metrics.jsonl", *python_used.FILES)


def put_in_place(folder: Path, paths: RunPaths, aliases: Sequence[str]) -> list[NotCollected]:
    """Move these files from `folder` into the run's local folder; returns what was not collected.

    Only regular files are moved; `aliases` are the absolute paths that the folder had for the script.
    """
    for name in FILES:
        path = folder / name
        if path.is_file() and not path.is_symlink():
            path.replace(paths.folder / name)
    return bring(folder, paths.outputs, aliases)
