"""What was prepared last for each run configuration: for telling why it has to be done again.

A hint only. The truth is on the target.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.history import replace

if TYPE_CHECKING:
    from amlexec.environments.building import Built
    from amlexec.model import Project

__all__ = ["Remembered", "folder", "recall", "remember"]


class Remembered(NamedTuple):
    """The environment that a run configuration had last."""

    digest: str
    canonical: str
    image_id: str


def folder(project: Project) -> Path:
    """Where it is kept."""
    return Path(project.state, "environments")


def recall(project: Project, configuration: str) -> Remembered | None:
    """The last environment; None where there was none, or what was kept of it is damaged."""
    try:
        said = json.loads((folder(project) / f"{configuration}.json").read_text("utf-8"))
        return Remembered(str(said["digest"]), str(said["canonical"]), str(said["image_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(
    project: Project, configuration: str, digest: str, canonical: str, image_id: str, built: Built | None
) -> None:
    """Keep an environment, and of one that was just made, its packages under `<digest>.packages.json`."""
    at = folder(project)
    at.mkdir(parents=True, exist_ok=True)
    if built is not None:
        packages: dict[str, Any] = {
            "python": built.python,
            "base": built.base,
            "conda": [
                dict(zip(("name", "version", "build", "url"), one, strict=True)) for one in built.conda
            ],
            "pip": [dict(zip(("name", "version"), one, strict=True)) for one in built.pip],
        }
        replace(at / f"{digest}.packages.json", json.dumps(packages, indent=2) + "\n")
    said = {"digest": digest, "canonical": canonical, "image_id": image_id}
    text = json.dumps(said, indent=2) + "\n"
    path = at / f"{configuration}.json"
    if not path.exists() or path.read_text("utf-8", "replace") != text:
        replace(path, text)
