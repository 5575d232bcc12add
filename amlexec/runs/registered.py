"""The models that the script of a run has registered: added to the registry after its end is recorded."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING
from amlexec.runs.control_log import note
from amlexec.values import Project

if TYPE_CHECKING:
    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run

__all__ = ["expect", "register"]


def expect(paths: RunPaths) -> None:
    """Note that the models are not registered, before the end is recorded: a killed process leaves it."""
    if not (paths.folder / "models.jsonl").exists():
        return
    from amlexec.models import of_run

    try:
        of_run.expect(paths)
    except OSError as error:
        note(paths, f"that its models are to be registered can't be noted: {error}")


def register(paths: RunPaths, run: Run) -> None:
    """Add the models to the registry, which may be far away. It affects nothing else of the run."""
    if not (paths.folder / "models.jsonl").exists():
        return
    from amlexec.models import of_run

    try:
        found = of_run.register(Project(str(paths.folder.parents[2])), paths, run)
    except OSError as error:
        note(paths, f"whether its models were registered could not be noted: {error}")
        return
    for each in found:
        note(paths, each.id or f"the model {each.name} was not registered: {each.problem}")
