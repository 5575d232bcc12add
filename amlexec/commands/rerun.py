"""`amlexec experiment rerun`: run a recorded run again, and compare the two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import console, escaping
from amlexec.commands.options import project_of
from amlexec.commands.running import ended, finish
from amlexec.commands.submit import OnStderr
from amlexec.errors import INTERRUPTED, ConfigurationError, UsageError
from amlexec.history import find, folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import Run
from amlexec.runs import rerun as again

if TYPE_CHECKING:
    import argparse

    from amlexec.history.verify import Difference, Verification
    from amlexec.history.verify_metrics import Tolerance
    from amlexec.values import Project

__all__ = ["rerun", "rerun_bundle"]

_DIFFERS = 1
"""The exit code of a rerun that has given something else."""


def rerun(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment rerun`; the exit code. Raises what its parts raise."""
    if arguments.verify and arguments.detach:
        raise UsageError("--verify has to wait for the run's end, and --async does not wait")
    if not arguments.verify and (arguments.rtol or arguments.atol):
        raise UsageError("--rtol and --atol are for the comparison: they need --verify")
    if arguments.run is None:
        raise UsageError("no run is named", hint="amlexec experiment rerun RUN, or --bundle FILE")
    run = folders.read(find.find(project, arguments.run))
    if arguments.verify:
        from amlexec.history.verify import must_be_whole

        must_be_whole(run)
    overrides = again.Overrides(
        target=arguments.target or "",
        arguments=tuple(arguments.tail),
        is_replacing=arguments.replace,
        is_accepting=arguments.accept_changes,
    )
    talk = OnStderr() if arguments.output == "json" or arguments.verify else console.Console()
    outcome = again.rerun(project, run, overrides, talk, detach=arguments.detach)
    if not arguments.verify:
        return finish(project, outcome, form=arguments.output)
    if not isinstance(outcome, Run):
        finish(project, outcome)
        console.say(f"not compared: the run {outcome.run_id} goes on")
        return INTERRUPTED
    ended(project, outcome, console.say)
    return _compared(project, run, outcome, arguments)


def rerun_bundle(arguments: argparse.Namespace) -> int:
    """`amlexec experiment rerun --bundle`; the exit code.

    The run becomes one of the project; outside of any project, the bundle's snapshot becomes a new one.
    """
    from amlexec.runs import bundle_import

    if arguments.run is not None:
        raise UsageError("RUN and --bundle exclude each other")
    file = Path(arguments.bundle)
    project = _project(arguments)
    if project is None:
        project, paths = bundle_import.new_project(file, Path.cwd())
        console.say(f"the files of its snapshot are in the new folder {project.root}")
    else:
        paths = bundle_import.import_run(project, file)
    arguments.run = paths.folder.name
    return rerun(project, arguments)


def _project(arguments: argparse.Namespace) -> Project | None:
    """The project that was named, or that the current folder is in."""
    try:
        return project_of(arguments)
    except ConfigurationError:
        if arguments.project:
            raise
        return None


def _compared(project: Project, before: Run, after: Run, arguments: argparse.Namespace) -> int:
    from amlexec.history.verify import verify
    from amlexec.history.verify_metrics import Tolerance

    tolerance = Tolerance(arguments.rtol, arguments.atol)
    paths, again_paths = RunPaths.of(project, before.run_id), RunPaths.of(project, after.run_id)
    found = verify(before, paths, after, again_paths, tolerance)
    if arguments.output == "json":
        from amlexec.commands.output import as_json

        console.data(as_json(_view(before, after, found, tolerance)))
    else:
        for line in _lines(before, after, found):
            console.data(line)
    return _DIFFERS if found.differences else 0


def _lines(before: Run, after: Run, found: Verification) -> list[str]:
    lines = [_line(difference) for difference in found.differences]
    counts = (
        f"{_counted(found.outputs, 'output')} ({found.bytes:,} bytes), {_counted(found.metrics, 'metric')}"
    )
    if not lines:
        return [f"verified: {after.run_id} equals {before.run_id}: {counts}"]
    number = {kind: sum(each.kind == kind for each in found.differences) for kind in ("output", "metric")}
    outputs = f"{number['output']} of {_counted(found.outputs, 'output')}"
    metrics = f"{number['metric']} of {_counted(found.metrics, 'metric')}"
    return [*lines, f"{after.run_id} differs from {before.run_id}: {outputs}, {metrics}"]


def _line(difference: Difference) -> str:
    named = {"run": "", "output": "outputs/", "metric": "metric "}[difference.kind] + difference.name
    return escaping.on_one_line(f"differs: {named}: {difference.note}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _view(before: Run, after: Run, found: Verification, tolerance: Tolerance) -> dict[str, Any]:
    return {
        "equal": not found.differences,
        "run_id": after.run_id,
        "rerun_of": before.run_id,
        "rtol": tolerance.relative,
        "atol": tolerance.absolute,
        "outputs": found.outputs,
        "bytes": found.bytes,
        "metrics": found.metrics,
        "differences": [difference._asdict() for difference in found.differences],
    }
