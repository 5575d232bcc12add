"""List the runs of a project, and find the run that a reference means."""

from __future__ import annotations

from amlexec.errors import TargetError, UsageError
from amlexec.history import folders, order
from amlexec.history.folders import entries, link, read
from amlexec.history.paths import RUNS, RunPaths
from amlexec.history.record import NOT_A_RUN_ID, is_run_id, without_series
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["chosen", "find", "ids", "runs"]


def ids(project: Project) -> list[str]:
    """The ids of the project's runs, sorted. Raises TargetError if their folder can't be read."""
    return [name for name in entries(project) if is_run_id(name)]


def runs(project: Project) -> tuple[list[Run], list[TargetError]]:
    """Every run of the project, newest first; and an error for each folder that isn't a readable run.

    Runs have only the last value of each metric, even if the record has all values.

    Raises:
        TargetError: the folder of the runs can't be read.
    """
    parent = f"{project.state}/{RUNS}"
    found: list[Run] = []
    problems: list[TargetError] = []
    for name in entries(project):
        if not is_run_id(name):
            problems.append(TargetError(NOT_A_RUN_ID, where=f"{parent}/{name}"))
            continue
        try:
            found.append(without_series(read(RunPaths(f"{parent}/{name}"))))
        except TargetError as error:
            problems.append(error)
    found.sort(key=lambda run: (run.created_utc, run.run_id), reverse=True)
    return found, problems


def find(project: Project, reference: str) -> RunPaths:
    """The paths of the run that `reference` names: its id, a unique prefix of it, or `last`.

    Raises:
        UsageError: `reference` matches no run, or several.
        TargetError: the folder of the runs can't be read.
    """
    parent = f"{project.state}/{RUNS}"
    if reference == "last":
        return _last(project, parent)
    # The whole id, as scripts have it, needs no list of all runs.
    if is_run_id(reference) and RunPaths(f"{parent}/{reference}").record.is_file():
        names = [reference]
        folders.must_be_own(project)
    else:
        names = ids(project)
    paths = RunPaths(f"{parent}/{chosen(names, reference)}")
    if paths.folder.is_symlink():
        raise link(paths)
    return paths


def _last(project: Project, parent: str) -> RunPaths:
    folders.must_be_own(project)
    for name in order.submitted(project):
        # A run that was removed is still in the file.
        if is_run_id(name) and RunPaths(f"{parent}/{name}").record.is_file():
            return RunPaths(f"{parent}/{name}")
    for name in order.newest_first(project, ids(project)):
        if RunPaths(f"{parent}/{name}").record.is_file():
            return RunPaths(f"{parent}/{name}")
    raise UsageError("there are no runs yet", hint="amlexec experiment submit -c local SCRIPT")


def chosen(names: Sequence[str], reference: str, hint: str = "amlexec history list shows them all") -> str:
    """The id that equals `reference`, or the only one that begins with it. Raises UsageError."""
    if reference in names:
        return reference
    matches = [name for name in names if reference and name.startswith(reference)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(
            f"{len(matches)} runs begin with {reference!r}", hint=f"{', '.join(matches[-3:])}: which one?"
        )
    from difflib import get_close_matches

    near = get_close_matches(reference, names, n=3)
    raise UsageError(
        f"there is no run {reference!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else hint,
    )
