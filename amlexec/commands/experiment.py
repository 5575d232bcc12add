"""`amlexec experiment`: submit a run, and follow, look at, cancel and clean up runs from any shell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import config, console, history, runs, submission
from amlexec.errors import INTERRUPTED
from amlexec.history import FINAL, Run, RunPaths
from amlexec.plan import plan

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from amlexec.model import Project
    from amlexec.submission import Detached

__all__ = ["add", "finish", "run"]


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    group = groups.add_parser("experiment", help="run scripts, and act on runs", allow_abbrev=False)
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True)
    _add_submit(verbs)
    _add_prepare(verbs)
    about: dict[str, str] = {
        "follow": "show what a run prints, from its beginning, until it is over",
        "status": "say how a run is",
        "cancel": "stop a run: TERM, a grace, then KILL of all it started",
        "clean": "remove the copies of the project that finished runs left; records and outputs stay",
    }
    for name, summary in about.items():
        verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        which = verb.add_mutually_exclusive_group(required=True) if name == "clean" else verb
        which.add_argument(
            "-r",
            "--run",
            required=name != "clean",
            metavar="RUN",
            help="run id, a beginning that only it has, or `last`",
        )
        if name == "clean":
            which.add_argument("-a", "--all", action="store_true", help="every run that is over")
        if name == "cancel":
            verb.add_argument(
                "--grace",
                type=_seconds,
                default=runs.GRACE_SECONDS,
                metavar="SECONDS",
                help="time between TERM and KILL (default: %(default)s)",
            )
        verb.add_argument("-t", "--target", help="accepted and ignored: the record knows the target")
        verb.add_argument("-p", "--project", metavar="FOLDER", help="the project (default: this folder)")
        if name in {"status", "cancel"}:
            verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="form")


def _add_submit(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    submit = verbs.add_parser(
        "submit",
        help="run a script, or the run configuration's ArgumentVector",
        description="Run a script on a copy of the project, record the run and bring its outputs home. "
        "Everything after the script's name is the script's.",
        allow_abbrev=False,
    )
    submit.add_argument(
        "-c", "--run-configuration", required=True, metavar="NAME", help="NAME.runconfig, or its path"
    )
    submit.add_argument("-t", "--target", metavar="NAME", help="run there instead of on the file's Target")
    submit.add_argument("-a", "--async", dest="detach", action="store_true", help="don't wait for the end")
    submit.add_argument(
        "-u", "--untracked", action="store_true", help="keep no record, as TrackedRun: false does"
    )
    submit.add_argument(
        "--prepare", action="store_true", help="make the environment ready first, as PrepareEnvironment does"
    )
    submit.add_argument("-p", "--project", metavar="FOLDER", help="the project (default: this folder)")
    submit.add_argument("script", nargs="?", metavar="SCRIPT", help="relative to the project's root")
    submit.add_argument(
        # The command line is cut behind the script's name before it comes here; this is for the help.
        "arguments",
        nargs="*",
        metavar="ARGUMENT",
        help="the script's, word for word",
    )


def _add_prepare(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "make the environment of a run configuration ready, if it isn't"
    verb = verbs.add_parser("prepare", help=summary, description=summary, allow_abbrev=False)
    verb.add_argument(
        "-c", "--run-configuration", required=True, metavar="NAME", help="NAME.runconfig, or its path"
    )
    verb.add_argument("-t", "--target", metavar="NAME", help="instead of the file's Target")
    verb.add_argument("-p", "--project", metavar="FOLDER", help="the project (default: this folder)")
    what = verb.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="only say whether it is ready, and why not: exit code 0 or 1"
    )
    what.add_argument(
        "--print-digest", action="store_true", help="only print the digest: nothing is solved or asked"
    )
    what.add_argument(
        "--refresh", action="store_true", help="look whether the base image has moved, and make it anew"
    )
    verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="form")


def _seconds(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = config.find_project(Path(arguments.project or os.getcwd()))  # noqa: PTH109 - one import less
    verbs: dict[str, Callable[[Project, argparse.Namespace], int]] = {
        "submit": _submit,
        "prepare": _prepare,
        "follow": _follow,
        "status": _status,
        "cancel": _cancel,
        "clean": _clean,
    }
    return verbs[arguments.verb](project, arguments)


def _submit(project: Project, arguments: argparse.Namespace) -> int:
    declaration = config.load(project, arguments.run_configuration, arguments.target or "")
    script = arguments.script
    if script is not None:
        script = submission.script_in(project, script, arguments.project or os.getcwd())  # noqa: PTH109
    planned = plan(
        declaration, script, arguments.tail, tracked=not arguments.untracked, prepare=arguments.prepare
    )
    return finish(project, submission.submit(planned, console.Console(), detach=arguments.detach))


def _prepare(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec import preparation, progress
    from amlexec.engine import from_environment
    from amlexec.environments.image import Shelf

    declaration = config.load(project, arguments.run_configuration, arguments.target or "")
    configuration, target = declaration.run_configuration, declaration.compute_target
    for note in declaration.notes:
        for line in note.lines():
            console.say(line)
    if target.kind == "local":
        console.say(f"{configuration.name}: the environment of a local target is yours; nothing to prepare")
        return 0
    want = preparation.wanted(project, configuration.name, target, configuration.conda_dependencies_file)
    if arguments.print_digest:
        console.data(want.digest)
        return 0
    shelf = Shelf(from_environment())
    if arguments.check:
        found = preparation.readiness(want, shelf)
    else:
        with progress.for_terminal() as shown:
            found = preparation.prepare(want, shelf, shown, refresh=arguments.refresh)
    if arguments.output == "json":
        import json

        console.data(json.dumps(found._asdict(), indent=2))
    else:
        console.data(f"{configuration.name}: {'' if found.ready else 'not ready: '}{found.reason}")
    return 0 if found.ready else 1


def finish(project: Project, outcome: Run | Detached) -> int:
    """Print how a submission came out; the exit code.

    Raises:
        AmlexecError: the run did not complete.
    """
    if not isinstance(outcome, Run):
        for line in console.detached(outcome):
            console.say(line)
        return {"async": 0, "interrupt": INTERRUPTED, "pipe": 128 + 13}[outcome.why]
    paths = RunPaths.of(project, outcome.run_id)
    for line in console.closing(outcome, paths):
        console.data(line)
    if not outcome.tracked:
        runs.forget(project, paths)
        console.data("the run is not tracked: its record, logs and outputs are not kept")
    if (error := console.telling(outcome)) is not None:
        raise error
    return 0


def _follow(project: Project, arguments: argparse.Namespace) -> int:
    paths = history.find(project, arguments.run)
    record = history.read(paths)
    return finish(project, submission.follow(project, paths, record, console.Console()))


def _status(project: Project, arguments: argparse.Namespace) -> int:
    paths = history.find(project, arguments.run)
    _tell(runs.refresh(project, history.read(paths)), arguments.output)
    return 0


def _cancel(project: Project, arguments: argparse.Namespace) -> int:
    paths = history.find(project, arguments.run)
    record, ended = runs.cancel(project, paths, arguments.grace)
    if not ended:
        console.say(f"the run was over already: {record.status}")
    _tell(record, arguments.output)
    return 0


def _tell(record: Run, form: str) -> None:
    if form == "json":
        import json

        keys = ("run_id", "status", "reason", "exit_code", "start_time_utc", "end_time_utc", "target")
        console.data(json.dumps({key: getattr(record, key) for key in keys}, indent=2))
        return
    console.data(f"{record.run_id}  {record.status}{f'  ({record.reason})' if record.reason else ''}")


def _clean(project: Project, arguments: argparse.Namespace) -> int:
    if arguments.run:
        cleaned = [arguments.run] if runs.clean(project, history.find(project, arguments.run)) else []
    else:
        known, problems = history.runs(project)
        for problem in problems:
            console.say(problem.lines()[0])
        over = [record for record in known if runs.refresh(project, record).status in FINAL]
        cleaned = [
            record.run_id for record in over if runs.clean(project, RunPaths.of(project, record.run_id))
        ]
    copies = "copy" if len(cleaned) == 1 else "copies"
    console.say(f"{len(cleaned)} {copies} of the project removed")
    return 0
