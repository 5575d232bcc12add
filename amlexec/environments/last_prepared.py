"""What was prepared last for each run configuration: for telling why it has to be done again.

A hint only. The truth is on the target.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from amlexec import private_folders
from amlexec.files import read_regular, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from amlexec.environments.request import BuildResult
    from amlexec.model import Project

__all__ = ["LastPrepared", "digests", "folder", "forget_removed", "keep_packages", "recall", "remember"]


_LARGEST = 64 << 20


class LastPrepared(NamedTuple):
    """The environment that a run configuration had last."""

    digest: str
    canonical: str
    key: str
    """See `store.Kept`; "" once it has been removed."""
    reason: str
    """Why it was made, or where it came from."""
    target: str
    """The name of the compute target that has it."""
    kind: str
    """Of that."""


def folder(project: Project) -> Path:
    """Where it is kept."""
    from pathlib import Path

    return Path(project.state, "environments")


def recall(project: Project, configuration: str) -> LastPrepared | None:
    """The last environment; None where there was none, or what was kept of it is damaged."""
    try:
        told = read_regular(f"{project.state}/environments/{configuration}.json", _LARGEST, follow=False)
        said = json.loads(told)
        values = [said[key] for key in LastPrepared._fields]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return LastPrepared(*values) if all(isinstance(value, str) for value in values) else None


def remember(project: Project, configuration: str, last: LastPrepared) -> None:
    """Keep what a run configuration's environment is."""
    at = folder(project)
    private_folders.make(at)
    write_atomically(at / f"{configuration}.json", json.dumps(last._asdict(), indent=2) + "\n")


def keep_packages(project: Project, digest: str, built: BuildResult) -> None:
    """Keep the packages of an environment that was just made, under `<digest>.packages.json`."""
    packages = {
        "python": built.python,
        "base": built.base,
        "conda": [dict(zip(("name", "version", "build", "url"), one, strict=True)) for one in built.conda],
        "pip": [dict(zip(("name", "version"), one, strict=True)) for one in built.pip],
    }
    at = folder(project)
    private_folders.make(at)
    write_atomically(at / f"{digest}.packages.json", json.dumps(packages, indent=2) + "\n")


def digests(project: Project) -> set[str]:
    """The environments that the project's run configurations had last."""
    names = (path.name.removesuffix(".json") for path in folder(project).glob("*.json"))
    return {last.digest for name in names if (last := recall(project, name)) is not None}


def forget_removed(project: Project, digests: Iterable[str]) -> None:
    """Note that these environments have been removed."""
    gone = set(digests)
    for path in folder(project).glob("*.json"):
        last = recall(project, path.name.removesuffix(".json"))
        if last is not None and last.digest in gone and last.key:
            remember(project, path.name.removesuffix(".json"), last._replace(key=""))
