"""`amlexec history list`: the runs of a project, or those on a machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import fitting, output, run_view, run_views
from amlexec.commands.options import add_output
from amlexec.errors import UsageError
from amlexec.history import find

if TYPE_CHECKING:
    from amlexec.errors import NoContactError
    from amlexec.model import Project

__all__ = ["add", "run"]

_MOST_PROBLEMS = 3
"""Damaged records that get a line each."""


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("--last", type=_count, metavar="N", help="only the newest N runs")
    verb.add_argument(
        "--from",
        dest="source",
        metavar="TARGET",
        help="list the runs on that compute target's machine, from any computer",
    )
    verb.add_argument("--all", action="store_true", help="with --from: also the runs of other projects")
    add_output(verb, flat=True)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs, 1 or more")
    return int(text)


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if arguments.source:
        _list_from(project, arguments)
        return
    if arguments.all:
        raise UsageError("--all needs --from", hint="name the machine: --from TARGET")
    runs, problems = find.runs(project)
    for problem in problems[:_MOST_PROBLEMS]:
        run_views.warn(problem)
    if len(problems) > _MOST_PROBLEMS:
        console.say(f"warning: {len(problems) - _MOST_PROBLEMS} more folders can't be read as runs")
    if not runs:
        console.say("there are no runs yet: amlexec experiment submit -c local SCRIPT")
    # Only JSON and queries need the files of every run.
    files = arguments.output == "json" or arguments.query is not None
    silent: dict[str, NoContactError] = {}
    now = [run_views.now(project, record, silent) for record in runs[: arguments.last]]
    views = run_views.views(project, now, files=files, silent=silent)
    if files:
        run_views.show(views, arguments)
    elif views:
        console.data(fitting.fitted(run_view.listing(views), output.terminal_width()))


def _list_from(project: Project, arguments: argparse.Namespace) -> None:
    from amlexec.runs.remote import RemoteRuns

    machine = RemoteRuns(project, arguments.source)
    listing = machine.list(everything=arguments.all)
    for problem in listing.problems:
        run_views.warn(problem)
    if not listing.runs:
        whose = "" if arguments.all else "of this project "
        console.say(f"there are no runs {whose}on {machine.name}")
    views = run_views.views(project, listing.runs[: arguments.last], files=False)
    for shown in views:
        # The name of another project, as far as the id contains it.
        shown["experiment_id"] = shown["run_id"].rpartition("_")[0]
    if arguments.output == "json" or arguments.query is not None:
        run_views.show(views, arguments)
    elif views:
        console.data(fitting.fitted(run_view.listing(views), output.terminal_width()))
