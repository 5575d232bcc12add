"""What was prepared last for each run configuration: for telling why it has to be done again.

A hint only. The truth is on the target.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.history import replace

if TYPE_CHECKING:
    from amlexec.environments.order import Built
    from amlexec.model import Project

__all__ = ["Remembered", "folder", "keep_packages", "recall", "remember"]


class Remembered(NamedTuple):
    """The environment that a run configuration had last."""

    digest: str
    canonical: str
    image_id: str
    """ "" once it has been removed."""
    reason: str = ""
    """Why it was made, or where it came from."""


def folder(project: Project) -> Path:
    """Where it is kept."""
    return Path(project.state, "environments")


def recall(project: Project, configuration: str) -> Remembered | None:
    """The last environment; None where there was none, or what was kept of it is damaged."""
    try:
        said = json.loads((folder(project) / f"{configuration}.json").read_text("utf-8"))
        return Remembered(
            str(said["digest"]), str(said["canonical"]), str(said["image_id"]), str(said.get("reason", ""))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember(project: Project, configuration: str, last: Remembered) -> None:
    """Keep what a run configuration's environment is."""
    at = folder(project)
    at.mkdir(parents=True, exist_ok=True)
    replace(at / f"{configuration}.json", json.dumps(last._asdict(), indent=2) + "\n")


def keep_packages(project: Project, digest: str, built: Built) -> None:
    """Keep the packages of an environment that was just made, under `<digest>.packages.json`."""
    packages = {
        "python": built.python,
        "base": built.base,
        "conda": [dict(zip(("name", "version", "build", "url"), one, strict=True)) for one in built.conda],
        "pip": [dict(zip(("name", "version"), one, strict=True)) for one in built.pip],
    }
    at = folder(project)
    at.mkdir(parents=True, exist_ok=True)
    replace(at / f"{digest}.packages.json", json.dumps(packages, indent=2) + "\n")
