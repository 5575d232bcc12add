"""The last prepared environment of each run configuration, to explain a rebuild.

Only a hint: the target decides which environments exist.
"""

from __future__ import annotations

import json

from amlexec import private_folders
from amlexec.files import read_regular, write_atomically
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from amlexec.environments.request import BuildResult
    from amlexec.values import Project

__all__ = ["LastPrepared", "digests", "folder", "forget_removed", "keep_packages", "recall", "remember"]


_LARGEST = 64 << 20


class LastPrepared(NamedTuple):
    """The last environment of a run configuration."""

    digest: str
    canonical: str
    key: str
    """See `store.Installed`; "" after it was removed."""
    reason: str
    """Why it was built, or where it was pulled from."""
    target: str
    """The name of its compute target."""
    kind: str
    """The kind of its compute target."""


def folder(project: Project) -> Path:
    """The folder of these files."""
    from pathlib import Path

    return Path(project.state, "environments")


def recall(project: Project, configuration: str) -> LastPrepared | None:
    """The last environment; None if there was none, or its file is damaged."""
    try:
        text = read_regular(f"{project.state}/environments/{configuration}.json", _LARGEST, follow=False)
        stored = json.loads(text)
        values = [stored[key] for key in LastPrepared._fields]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return LastPrepared(*values) if all(isinstance(value, str) for value in values) else None


def remember(project: Project, configuration: str, last: LastPrepared) -> None:
    """Store the environment of a run configuration."""
    at = folder(project)
    private_folders.make(at)
    write_atomically(at / f"{configuration}.json", json.dumps(last._asdict(), indent=2) + "\n")


def keep_packages(project: Project, digest: str, built: BuildResult) -> None:
    """Store the packages of a new environment in `<digest>.packages.json`."""
    packages = {
        "python": built.python,
        "base": built.base,
        "conda": [
            dict(zip(("name", "version", "build", "url"), package, strict=True)) for package in built.conda
        ],
        "pip": [dict(zip(("name", "version"), package, strict=True)) for package in built.pip],
    }
    at = folder(project)
    private_folders.make(at)
    write_atomically(at / f"{digest}.packages.json", json.dumps(packages, indent=2) + "\n")


def digests(project: Project) -> set[str]:
    """The digests of the last environments of all run configurations."""
    names = (path.name.removesuffix(".json") for path in folder(project).glob("*.json"))
    return {last.digest for name in names if (last := recall(project, name)) is not None}


def forget_removed(project: Project, digests: Iterable[str]) -> None:
    """Record that these environments were removed."""
    removed = set(digests)
    for path in folder(project).glob("*.json"):
        last = recall(project, path.name.removesuffix(".json"))
        if last is not None and last.digest in removed and last.key:
            remember(project, path.name.removesuffix(".json"), last._replace(key=""))
