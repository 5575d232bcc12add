"""The packages of runs, for the page's differences: those of an environment only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.environments.of_run import packages_of
from amlexec.report.rows import packages_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["packages_by_key"]


def packages_by_key(project: Project, runs: Iterable[Run]) -> dict[str, dict[str, tuple[str, str]]]:
    """Version and build of each package, by what `packages_key` says of a run. Unknown ones are left out."""
    wanted = {key: run for run in runs if (key := packages_key(run)) is not None}
    found = {key: packages_of(project, run) for key, run in wanted.items()}
    return {
        key: {name: (each.version, each.build) for name, each in packages.items()}
        for key, packages in found.items()
        if packages is not None
    }
