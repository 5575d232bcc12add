"""`amlexec experiment return`: what came of a run is brought home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console, runs
from amlexec.commands.running import tell
from amlexec.errors import TargetError
from amlexec.history import find, folders
from amlexec.history.record import FINAL

if TYPE_CHECKING:
    import argparse

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.model import Project

__all__ = ["bring"]


def bring(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment return`; the exit code. Raises what its parts raise."""
    if arguments.source:
        from amlexec.elsewhere import Machine

        machine = Machine(project, arguments.source)
        found = machine.find(arguments.run)
        if found.status not in FINAL:
            raise _running(found, machine.name)
        paths = machine.bring(found)
    else:
        paths = find.find(project, arguments.run)
    before = folders.read(paths)
    record = _home(project, paths, before, again=arguments.overwrite)
    if before.status in FINAL and not arguments.overwrite:
        console.say("already downloaded; --overwrite downloads it again")
    tell(record, arguments.output)
    if arguments.output == "text":
        console.data(str(paths.folder))
    return 0


def _home(project: Project, paths: RunPaths, before: Run, *, again: bool) -> Run:
    record = runs.refresh(project, before)
    if record.status not in FINAL:
        raise _running(record)
    return runs.collect_again(project, paths) if again and before.status in FINAL else record


def _running(record: Run, source: str = "") -> TargetError:
    place = f" --from {source}" if source else ""
    return TargetError(
        f"the run {record.run_id} is {record.status}: what comes of it can be brought home when it is over",
        hint=f"wait for it: amlexec experiment follow -r {record.run_id}{place}",
    )
