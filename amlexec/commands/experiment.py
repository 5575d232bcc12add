"""`amlexec experiment`: submit a script; follow, show, download, cancel and clean up runs."""

from __future__ import annotations

from importlib import import_module

from amlexec.commands.options import (
    RUN,
    add_project,
    add_run_configuration,
    add_script,
    add_target,
    add_text_or_json,
    project_of,
)
from amlexec.light_typing import TYPE_CHECKING
from amlexec.targets.target import GRACE_TIMEOUT_S

if TYPE_CHECKING:
    import argparse

__all__ = ["add", "run"]

_VERBS = {
    "submit": "submit",
    "rerun": "rerun",
    "sweep": "sweeping",
    "prepare": "prepare",
    "follow": "running",
    "status": "running",
    "return": "running",
    "cancel": "running",
    "clean": "clean",
}
"""Verb -> the module of `amlexec.commands` with its function. A verb imports only its own module."""


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser], only: str | None = None) -> None:
    """Declare the arguments; if `only` is a verb, only of that verb."""
    group = groups.add_parser("experiment", help="submit scripts, and manage runs", allow_abbrev=False)
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True, prog=group.prog)
    declared = {
        "submit": _add_submit,
        "rerun": _add_rerun,
        "sweep": _add_sweep,
        "prepare": _add_prepare,
        "clean": _add_clean,
    }
    for name in _VERBS:
        if only == name or only not in _VERBS:
            declared.get(name, _add_about_a_run)(verbs, name)


def _add_submit(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    submit = verbs.add_parser(
        name,
        help="run a script, or the run configuration's ArgumentVector",
        description="Run a script in a copy of the project, record the run and collect its outputs. "
        "All arguments after the script's name belong to the script.",
        allow_abbrev=False,
    )
    add_run_configuration(submit)
    add_target(submit, "Target of the file")
    submit.add_argument(
        "-a", "--async", dest="detach", action="store_true", help="don't wait for the run to end"
    )
    submit.add_argument(
        "-u", "--untracked", action="store_true", help="keep no record, like TrackedRun: false"
    )
    submit.add_argument(
        "--prepare", action="store_true", help="prepare the environment first, like PrepareEnvironment"
    )
    add_project(submit)
    add_text_or_json(submit, "the run's record on standard output, everything else on standard error")
    add_script(submit, "argument of the script, passed on unchanged")


def _add_sweep(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    from amlexec.commands import sweep_options

    sweep_options.declare(verbs, name)


def _add_rerun(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    from amlexec.commands import rerun_options

    rerun_options.declare(verbs, name)


def _add_prepare(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    summary = "build the environment of a run configuration if it is not up to date"
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    add_run_configuration(verb)
    verb.add_argument("-t", "--target", metavar="NAME", help="compute target (default: Target of the file)")
    add_project(verb)
    what = verb.add_mutually_exclusive_group()
    what.add_argument(
        "--check",
        action="store_true",
        help="only print whether it is up to date, or why not; exit code 0 or 1",
    )
    what.add_argument(
        "--print-digest", action="store_true", help="only print the digest; offline, nothing is solved"
    )
    what.add_argument(
        "--print-dockerfile", action="store_true", help="only print a Dockerfile that builds it by hand"
    )
    what.add_argument(
        "--refresh", action="store_true", help="also rebuild if the tag of the base image has moved"
    )
    what.add_argument("--force", action="store_true", help="rebuild even if it is up to date")
    verb.add_argument(
        "--all-reasons",
        action="store_true",
        help="print every change since it was last prepared, not only the first",
    )
    verb.add_argument(
        "--context",
        metavar="FOLDER",
        help="with --print-dockerfile: write the Dockerfile and the files that it needs into a new folder",
    )
    verb.add_argument("--push", metavar="REGISTRY/REPOSITORY", help="publish it there afterwards")
    verb.add_argument(
        "--pull-from",
        metavar="REGISTRY/REPOSITORY",
        help="pull it from there instead of building it (default: the variable AMLEXEC_IMAGES)",
    )
    verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="output format")


def _add_clean(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    summary = "remove the project copies of finished runs; records and outputs are kept"
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    which = verb.add_mutually_exclusive_group(required=True)
    which.add_argument("-r", "--run", metavar="RUN", help=RUN)
    which.add_argument(
        "-a", "--all", action="store_true", help="every finished run, and leftovers of killed runs"
    )
    which.add_argument(
        "--environments",
        action="store_true",
        help="this project's environments on the Docker engine and on the machines of its targets",
    )
    _add_from(verb)
    verb.add_argument("-t", "--target", help="accepted and ignored: the record has the target")
    add_project(verb)


def _add_from(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from",
        dest="source",
        metavar="TARGET",
        help="compute target whose machine has the run, if another computer submitted it",
    )


def _add_about_a_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    summary = {
        "follow": "show a run's output from the beginning until the run ends",
        "status": "print the status of a run",
        "return": "download the results of a finished run: logs, metrics, outputs and record",
        "cancel": "stop a run and all its processes: TERM, a grace period, then KILL",
    }[name]
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    verb.add_argument("-r", "--run", required=True, metavar="RUN", help=RUN)
    if name == "cancel":
        verb.add_argument(
            "--grace",
            type=_seconds,
            default=GRACE_TIMEOUT_S,
            metavar="SECONDS",
            help="time between TERM and KILL (default: %(default)s)",
        )
    if name == "return":
        verb.add_argument(
            "-f", "--overwrite", action="store_true", help="download again, and replace existing files"
        )
    _add_from(verb)
    verb.add_argument("-t", "--target", help="accepted and ignored: the record has the target")
    add_project(verb)
    if name in {"status", "return", "cancel"}:
        verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="output format")


def _seconds(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    module = import_module(f"amlexec.commands.{_VERBS[arguments.verb]}")
    if getattr(arguments, "bundle", None):
        return int(module.rerun_bundle(arguments))
    project = project_of(arguments)
    # `return` is a keyword of Python.
    verb = "download" if arguments.verb == "return" else arguments.verb
    code: int = getattr(module, verb)(project, arguments)
    return code
