"""The verbs of `amlexec experiment` for runs that were started: follow, status, cancel, return."""

from __future__ import annotations

from amlexec import console
from amlexec.commands import run_ending
from amlexec.errors import INTERRUPTED, NoContactError, TargetError
from amlexec.history import find, folders, uncollected
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, Run
from amlexec.light_typing import TYPE_CHECKING
from amlexec.runs import follow as following
from amlexec.runs import lifecycle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.values import Detached, Project

__all__ = ["cancel", "download", "ended", "finish", "follow", "status", "tell"]


def finish(project: Project, outcome: Run | Detached, *, form: str = "text") -> int:
    """Print the result of a submission; the exit code. With the form `json`, stdout has the record only.

    Raises:
        AmlexecError: the run did not complete.
    """
    if form == "json":
        from amlexec.commands.output import as_json
        from amlexec.commands.run_views import view_of

        record = outcome if isinstance(outcome, Run) else folders.read(RunPaths.of(project, outcome.run_id))
        console.data(as_json(view_of(project, record)))
    talk = console.say if form == "json" else console.data
    if not isinstance(outcome, Run):
        for line in run_ending.detached(outcome):
            console.say(line)
        return {"async": 0, "interrupt": INTERRUPTED, "pipe": 128 + 13}[outcome.why]
    paths = ended(project, outcome, talk)
    if not outcome.tracked:
        lifecycle.forget(project, paths)
        talk("the run is not tracked: its record, logs and outputs are not kept")
    if (error := run_ending.error_of(outcome)) is not None:
        raise error
    return 0


def ended(project: Project, outcome: Run, talk: Callable[[str], None]) -> RunPaths:
    """Print the lines about the end of a run, with `talk`; its paths."""
    paths = RunPaths.of(project, outcome.run_id)
    for line in run_ending.closing(outcome, paths):
        talk(line)
    for line in uncollected.lines(outcome):
        console.say(f"warning: {line}")
    return paths


def follow(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment follow`; the exit code. Raises what its parts raise."""
    if arguments.source:
        from amlexec.runs.remote import RemoteRuns

        machine = RemoteRuns(project, arguments.source)
        paths = machine.adopt(machine.find(arguments.run))
    else:
        paths = find.find(project, arguments.run)
    record = folders.read(paths)
    return finish(project, following.follow(project, paths, record, console.Console()))


def status(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment status`; the exit code. Raises what its parts raise."""
    if arguments.source:
        from amlexec.runs.remote import RemoteRuns

        tell(RemoteRuns(project, arguments.source).find(arguments.run), arguments.output)
        return 0
    record = folders.read(find.find(project, arguments.run))
    try:
        tell(lifecycle.refresh(project, record), arguments.output)
    except NoContactError:
        # Print the last known status, and raise the error too.
        tell(record, arguments.output, unreachable=True)
        raise
    return 0


def cancel(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment cancel`; the exit code. Raises what its parts raise."""
    if arguments.source:
        from amlexec.runs.remote import RemoteRuns

        machine = RemoteRuns(project, arguments.source)
        record = machine.find(arguments.run)
        ended = record.status not in FINAL
        if ended:
            record = machine.stop(record, arguments.grace)
            ended = record.status == "Canceled"
    else:
        record, ended = lifecycle.cancel(project, find.find(project, arguments.run), arguments.grace)
    if not ended:
        console.say(f"the run had already ended: {record.status}")
    tell(record, arguments.output)
    return 0


def tell(record: Run, form: str, *, unreachable: bool = False) -> None:
    """Print the status of a run, as text or JSON."""
    if form == "json":
        import json

        keys = ("run_id", "status", "reason", "exit_code", "start_time_utc", "end_time_utc", "target")
        values = {key: getattr(record, key) for key in keys}
        console.data(json.dumps({**values, "unreachable": unreachable}, indent=2))
    else:
        why = f"{record.target} is unreachable; last known status" if unreachable else record.reason
        console.data(f"{record.run_id}  {record.status}{f'  ({why})' if why else ''}")
    for line in uncollected.lines(record):
        console.say(f"warning: {line}")


def download(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment return`; the exit code. Raises what its parts raise."""
    if arguments.source:
        from amlexec.runs.remote import RemoteRuns

        machine = RemoteRuns(project, arguments.source)
        found = machine.find(arguments.run)
        if found.status not in FINAL:
            raise _still_running(found, machine.name)
        paths = machine.adopt(found)
    else:
        paths = find.find(project, arguments.run)
    before = folders.read(paths)
    record = _downloaded(project, paths, before, again=arguments.overwrite)
    if before.status in FINAL and not arguments.overwrite:
        console.say("already downloaded; --overwrite downloads it again")
    tell(record, arguments.output)
    if arguments.output == "text":
        console.data(str(paths.folder))
    return 0


def _downloaded(project: Project, paths: RunPaths, before: Run, *, again: bool) -> Run:
    record = lifecycle.refresh(project, before)
    if record.status not in FINAL:
        raise _still_running(record)
    return lifecycle.collect_again(project, paths) if again and before.status in FINAL else record


def _still_running(record: Run, source: str = "") -> TargetError:
    place = f" --from {source}" if source else ""
    return TargetError(
        f"the run {record.run_id} is {record.status}: its results can be downloaded when it ends",
        hint=f"wait for it: amlexec experiment follow -r {record.run_id}{place}",
    )
