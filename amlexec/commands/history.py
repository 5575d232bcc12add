"""`amlexec history`: find, read and compare the runs of a project, and download their files."""

from __future__ import annotations

import argparse
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands import fitting, output, run_files, run_view
from amlexec.commands.options import add_project
from amlexec.config import load as config
from amlexec.errors import AmlexecError, NoContactError, TargetError, UsageError
from amlexec.files import open_regular
from amlexec.history import find, folders, order
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from amlexec.model import Project

__all__ = ["add", "run", "view_of"]

_CHUNK = 1 << 20
_MOST_PROBLEMS = 3
"""Damaged records that get a line each."""
_MOST_NAMES = 10
"""Attachments that are named in a table."""


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    group = groups.add_parser("history", help="find, compare and read runs", allow_abbrev=False)
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True)
    about = {
        "list": "list the runs, newest first",
        "last": "show the newest run",
        "info": "show a run, or print one of its artifacts",
        "compare": "show the differences between runs side by side",
        "download": "copy a run's record, logs, metrics and outputs into a folder",
    }
    verb = {
        name: verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        for name, summary in about.items()
    }
    for name in ("info", "download"):
        verb[name].add_argument("-r", "--run", required=True, metavar="RUN", help=_RUN)
    verb["compare"].add_argument(
        "runs", nargs="*", metavar="RUN", help=f"{_RUN} (default: the two newest runs)"
    )
    verb["compare"].add_argument("--all", action="store_true", help="also show what is equal")
    verb["list"].add_argument("--last", type=_count, metavar="N", help="only the newest N runs")
    verb["list"].add_argument(
        "--from",
        dest="source",
        metavar="TARGET",
        help="list the runs on that compute target's machine, from any computer",
    )
    verb["list"].add_argument(
        "--all", action="store_true", help="with --from: also the runs of other projects"
    )
    verb["info"].add_argument(
        "-a",
        "--artifact",
        metavar="NAME",
        help="print driver_log, control_log, stderr.log or a file of outputs",
    )
    download = verb["download"]
    download.add_argument("--artifact", metavar="NAME", help="only this file")
    download.add_argument(
        "-d", "--destination", metavar="FOLDER", help="default: artifacts/RUN in the current folder"
    )
    download.add_argument("--overwrite", action="store_true", help="replace existing files")
    for name in ("list", "last", "info", "compare"):
        verb[name].add_argument(
            "-o", "--output", choices=["table", "json"], default="table", help="output format"
        )
        verb[name].add_argument("--query", metavar="JMESPATH", help="JMESPath query of the JSON")
    for name in ("list", "last", "info"):
        verb[name].add_argument(
            "--flat", action="store_true", help="in JSON, also put each metric at the top level"
        )
    for each in verb.values():
        add_project(each)


_RUN = "run id, a unique prefix of it, or `last`"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs, 1 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = config.find_project(Path(arguments.project or os.getcwd()))  # noqa: PTH109 - one import less
    verbs: dict[str, Callable[[Project, argparse.Namespace], None]] = {
        "list": _list,
        "last": _last,
        "info": _info,
        "compare": _compare,
        "download": _download,
    }
    verbs[arguments.verb](project, arguments)
    return 0


def _list(project: Project, arguments: argparse.Namespace) -> None:
    if arguments.source:
        _list_from(project, arguments)
        return
    if arguments.all:
        raise UsageError("--all needs --from", hint="name the machine: --from TARGET")
    runs, problems = find.runs(project)
    for problem in problems[:_MOST_PROBLEMS]:
        _warn(problem)
    if len(problems) > _MOST_PROBLEMS:
        console.say(f"warning: {len(problems) - _MOST_PROBLEMS} more folders can't be read as runs")
    if not runs:
        console.say("there are no runs yet: amlexec experiment submit -c local SCRIPT")
    # Only JSON and queries need the files of every run.
    files = arguments.output == "json" or arguments.query is not None
    silent: dict[str, NoContactError] = {}
    now = [_now(project, record, silent) for record in runs[: arguments.last]]
    views = _views(project, now, files=files, silent=silent)
    if files:
        _print(views, arguments)
    elif views:
        console.data(fitting.fitted(run_view.listing(views), output.terminal_width()))


def _list_from(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.runs.remote import RemoteRuns

    machine = RemoteRuns(project, arguments.source)
    listing = machine.list(everything=arguments.all)
    for problem in listing.problems:
        _warn(problem)
    if not listing.runs:
        whose = "" if arguments.all else "of this project "
        console.say(f"there are no runs {whose}on {machine.name}")
    views = _views(project, listing.runs[: arguments.last], files=False)
    for shown in views:
        # The name of another project, as far as the id contains it.
        shown["experiment_id"] = shown["run_id"].rpartition("_")[0]
    if arguments.output == "json" or arguments.query is not None:
        _print(views, arguments)
    elif views:
        console.data(fitting.fitted(run_view.listing(views), output.terminal_width()))


def _last(project: Project, arguments: argparse.Namespace) -> None:
    try:
        record = folders.read(find.find(project, "last"))
    except TargetError as problem:
        _warn(problem)
        runs, _ = find.runs(project)
        if not runs:
            raise UsageError("there is no run that can be read", where=project.state) from None
        record = runs[0]
    _show(project, record, arguments)


def _info(project: Project, arguments: argparse.Namespace) -> None:
    paths = find.find(project, arguments.run)
    if arguments.artifact is None:
        _show(project, folders.read(paths), arguments)
        return
    sink = console.Console()
    # `find` only returns links that lead to a file in `outputs`.
    with open_regular(run_files.find(paths, arguments.artifact)) as file:
        while chunk := file.read(_CHUNK):
            sink.stdout(chunk)


def _show(project: Project, record: Run, arguments: argparse.Namespace) -> None:
    silent: dict[str, NoContactError] = {}
    shown = _views(project, [_now(project, record, silent)], silent=silent)[0]
    if arguments.output == "json" or arguments.query is not None:
        _print(shown, arguments)
        return
    filled = {key: value for key, value in shown.items() if value not in (None, "", [], {})}
    if not shown["unreachable"]:
        del filled["unreachable"]
    if shown["attachments"]:
        names = shown["attachments"].split(",")
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        filled["attachments"] = ",".join(names[:_MOST_NAMES]) + more
    console.data(output.fields(filled))


def view_of(project: Project, record: Run) -> dict[str, Any]:
    """A run in the form of `history info -o json`, from its record alone: no connections."""
    return _views(project, [record])[0]


def _compare(project: Project, arguments: argparse.Namespace) -> None:
    if len(arguments.runs) == 1:
        raise UsageError(
            "one run can't be compared", hint=f"amlexec history compare {arguments.runs[0]} last"
        )
    if arguments.runs:
        records = [folders.read(find.find(project, name)) for name in arguments.runs]
    else:
        records = find.runs(project)[0][1::-1]
        if len(records) < 2:
            raise UsageError("there are fewer than two runs", hint="amlexec history list shows all runs")
    rows = run_view.comparison(_views(project, [_now(project, record) for record in records], files=False))
    if arguments.output == "json" or arguments.query is not None:
        compared = {
            "runs": [record.run_id for record in records],
            "rows": [row._asdict() for row in rows],
        }
        _print(compared, arguments)
        return
    shown = [row for row in rows if row.differs or arguments.all]
    mark = "* " if arguments.all else ""
    marked = [[f"{mark if row.differs else ' ' * len(mark)}{row.key}", *row.values] for row in shown]
    console.data(output.table(marked, [f"{' ' * len(mark)}Key", *(record.run_id for record in records)]))
    if same := len(rows) - len(shown):
        console.say(f"{same} more are the same; --all shows them too")


def _download(project: Project, arguments: argparse.Namespace) -> None:
    paths = find.find(project, arguments.run)
    record = _now(project, folders.read(paths))
    if record.status not in FINAL:
        console.say(f"the run is {record.status}: its outputs are collected when it ends")
    if arguments.artifact is None:
        problems: list[OSError] = []
        chosen = run_files.names(paths, problems.append)
        for problem in problems:
            _warn(console.system_error(problem))
    else:
        problems = []
        chosen = [str(run_files.find(paths, arguments.artifact).relative_to(paths.folder))]
    folder = Path(arguments.destination or f"artifacts/{record.run_id}")
    run_files.copy(paths, chosen, folder, overwrite=arguments.overwrite)
    console.say(f"{len(chosen)} {'file' if len(chosen) == 1 else 'files'} of {record.run_id} copied to:")
    console.data(str(folder))
    if problems:
        raise TargetError(
            f"{len(problems)} {'folder' if len(problems) == 1 else 'folders'} of {record.run_id} "
            "could not be read, and were not copied"
        )


def _now(project: Project, record: Run, silent: dict[str, NoContactError] | None = None) -> Run:
    """The run with its current status, or, if its target can't be reached, with the recorded one.

    Adds unreachable targets to `silent`, and does not ask those in it again.
    """
    if record.status in FINAL or (silent is not None and record.target in silent):
        return record
    from amlexec.history import metrics
    from amlexec.runs import lifecycle

    try:
        record = lifecycle.refresh(project, record)
        if record.status not in FINAL:
            logged = metrics.summary(RunPaths.of(project, record.run_id).metrics)
            record = record._replace(metrics=logged.values, metric_counts=logged.counts)
            if logged.unreadable:
                console.say(
                    f"warning: {record.run_id}: {logged.unreadable} lines of metrics.jsonl are unreadable"
                )
    except AmlexecError as error:
        _warn(error)
        if silent is not None and isinstance(error, NoContactError):
            silent[record.target] = error
    except OSError as error:
        _warn(console.system_error(error))
    return record


def _warn(problem: AmlexecError) -> None:
    place = f"{problem.where}: " if problem.where else ""
    console.say(f"{place}warning: {problem.message}")


def _views(
    project: Project, records: Sequence[Run], *, files: bool = True, silent: Container[str] = ()
) -> list[dict[str, Any]]:
    numbers = _numbers(project)
    now = datetime.now(timezone.utc)
    return [
        run_view.flat(
            record,
            number=numbers.get(record.run_id),
            attachments=_attachments(project, record) if files else (),
            project=project.name,
            now=now,
            unreachable=record.target in silent and record.status not in FINAL,
        )
        for record in records
    ]


def _attachments(project: Project, record: Run) -> list[str]:
    return run_files.names(
        RunPaths.of(project, record.run_id), lambda error: _warn(console.system_error(error))
    )


def _numbers(project: Project) -> dict[str, int]:
    """The number of every run by the time in its id; the oldest is 1."""
    ordered = sorted(find.ids(project), key=lambda name: (order.milliseconds(name), name))
    return {name: place for place, name in enumerate(ordered, 1)}


def _print(value: Any, arguments: argparse.Namespace) -> None:
    """Print `value`, or the result of `--query`, in the output format."""
    if getattr(arguments, "flat", False):
        value = (
            [run_view.flattened(each) for each in value]
            if isinstance(value, list)
            else run_view.flattened(value)
        )
    if arguments.query is not None:
        value = output.query(arguments.query, value)
    console.data(output.render(value, arguments.output))
