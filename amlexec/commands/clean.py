"""`amlexec experiment clean`: give back the room that runs and environments take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console, history, runs
from amlexec.engine import EngineAbsentError, EngineDeniedError
from amlexec.errors import UsageError
from amlexec.history import FINAL, RunPaths

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from amlexec.environments.shelf import Removal
    from amlexec.model import Project

__all__ = ["clean", "told"]


def clean(project: Project, arguments: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code. Raises what its parts raise."""
    if arguments.environments:
        return _environments(project)
    if arguments.source:
        return _elsewhere(project, arguments)
    if arguments.run:
        copies = int(runs.clean(project, history.find(project, arguments.run)))
    else:
        copies = _all(project)
    console.say(f"{_number(copies, 'copy', 'copies')} of the project removed")
    return 0


def _elsewhere(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.elsewhere import Machine

    if not arguments.run:
        raise UsageError("--from wants the one run that is meant", hint="name it with -r RUN")
    machine = Machine(project, arguments.source)
    record = machine.find(arguments.run)
    machine.remove(record)
    console.say(f"{record.run_id} removed from {machine.name}")
    return 0


def _all(project: Project) -> int:
    known, problems = history.runs(project)
    for problem in problems:
        console.say(problem.lines()[0])
    over = [record for record in known if runs.refresh(project, record).status in FINAL]
    copies = sum(runs.clean(project, RunPaths.of(project, record.run_id)) for record in over)
    from amlexec import sweeping
    from amlexec.engine import from_environment

    half_made = sweeping.folders(project)
    if half_made:
        console.say(f"{_number(len(half_made), 'half-made folder', 'half-made folders')} of runs removed")
    try:
        left = sweeping.containers(project, from_environment())
    except (EngineAbsentError, EngineDeniedError) as error:
        # Where nobody uses Docker there is nothing to look for.
        if any(record.target_kind == "docker" for record in known):
            console.say(f"containers were not looked for: {error.message}")
        return copies
    for run_id in left:
        console.say(f"the container of the run {run_id} removed")
    return copies


def _environments(project: Project) -> int:
    from amlexec.engine import from_environment
    from amlexec.environments import memory
    from amlexec.environments.on_engine import EngineShelf

    shelf = EngineShelf(from_environment())
    ours = [kept.digest for kept in shelf.all().values() if kept.project == project.name]
    for line in told(shelf.remove(ours, project.name)):
        console.say(line)
    memory.forget_removed(project, {digest for digest in ours if shelf.get(digest) is None})
    return 0


def told(removals: Sequence[Removal], *, dry_run: bool = False) -> list[str]:
    """The lines about what was removed, and how much room that gave back."""
    lines = [
        f"{one.reference}: kept: {one.kept}"
        if one.kept
        else f"{one.reference}: {'would be removed' if dry_run else 'removed'}, {_size(one.size)}"
        for one in removals
    ]
    gone = [one for one in removals if not one.kept]
    count = _number(len(gone), "image", "images")
    if dry_run:
        return [*lines, f"{count} would be removed, {_size(sum(one.size for one in gone))}"]
    return [*lines, f"{count} removed, {_size(sum(one.size for one in gone))} freed"]


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"
