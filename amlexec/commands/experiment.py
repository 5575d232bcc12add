"""`amlexec experiment`: submit a run; follow, look at, return, cancel and clean up runs from any shell."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from amlexec.commands.options import add_project, add_run_configuration
from amlexec.config import load as config
from amlexec.targets.target import GRACE_SECONDS

if TYPE_CHECKING:
    import argparse

__all__ = ["add", "run"]

_VERBS = {
    "submit": "running",
    "prepare": "prepare",
    "follow": "running",
    "status": "running",
    "return": "running",
    "cancel": "running",
    "clean": "clean",
}
"""Verb -> the module of `amlexec.commands` with a function of that name. One verb loads no other's parts."""
_RUN = "run id, a beginning that only it has, or `last`"


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser], only: str | None = None) -> None:
    """Declare the arguments; of the verb `only`, if there is one of that name."""
    group = groups.add_parser("experiment", help="run scripts, and act on runs", allow_abbrev=False)
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True, prog=group.prog)
    declared = {"submit": _add_submit, "prepare": _add_prepare, "clean": _add_clean}
    for name in _VERBS:
        if only == name or only not in _VERBS:
            declared.get(name, _add_about_a_run)(verbs, name)


def _add_submit(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    submit = verbs.add_parser(
        name,
        help="run a script, or the run configuration's ArgumentVector",
        description="Run a script on a copy of the project, record the run and bring its outputs home. "
        "Everything after the script's name is the script's.",
        allow_abbrev=False,
    )
    add_run_configuration(submit)
    submit.add_argument("-t", "--target", metavar="NAME", help="run there instead of on the file's Target")
    submit.add_argument("-a", "--async", dest="detach", action="store_true", help="don't wait for the end")
    submit.add_argument(
        "-u", "--untracked", action="store_true", help="keep no record, as TrackedRun: false does"
    )
    submit.add_argument(
        "--prepare", action="store_true", help="make the environment ready first, as PrepareEnvironment does"
    )
    add_project(submit)
    submit.add_argument(
        "-o",
        "--output",
        choices=["text", "json"],
        default="text",
        help="json: the run's record on standard output, all else on standard error",
    )
    submit.add_argument("script", nargs="?", metavar="SCRIPT", help="relative to the project's root")
    submit.add_argument(
        # The command line is cut behind the script's name before it comes here; this is for the help.
        "arguments",
        nargs="*",
        metavar="ARGUMENT",
        help="the script's, word for word",
    )


def _add_prepare(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    summary = "make the environment of a run configuration ready, if it isn't"
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    add_run_configuration(verb)
    verb.add_argument("-t", "--target", metavar="NAME", help="instead of the file's Target")
    add_project(verb)
    what = verb.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="only say whether it is ready, and why not: exit code 0 or 1"
    )
    what.add_argument(
        "--print-digest", action="store_true", help="only print the digest: nothing is solved or asked"
    )
    what.add_argument(
        "--print-dockerfile", action="store_true", help="only print a Dockerfile that makes it by hand"
    )
    what.add_argument(
        "--refresh", action="store_true", help="also make it anew if the tag of its base image has moved"
    )
    what.add_argument("--force", action="store_true", help="make it anew, even if it is ready")
    verb.add_argument(
        "--all-reasons",
        action="store_true",
        help="say everything that has changed since it was last prepared, and not only the first thing",
    )
    verb.add_argument(
        "--context",
        metavar="FOLDER",
        help="with --print-dockerfile: write it into a new folder, with the files that it needs",
    )
    verb.add_argument("--push", metavar="REGISTRY/REPOSITORY", help="then publish it there")
    verb.add_argument(
        "--pull-from",
        metavar="REGISTRY/REPOSITORY",
        help="use what is published there instead of making it (default: the variable AMLEXEC_IMAGES)",
    )
    verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="form")


def _add_clean(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    summary = "remove the copies of the project that finished runs left; records and outputs stay"
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    which = verb.add_mutually_exclusive_group(required=True)
    which.add_argument("-r", "--run", metavar="RUN", help=_RUN)
    which.add_argument(
        "-a", "--all", action="store_true", help="every run that is over, and what killed ones left behind"
    )
    which.add_argument(
        "--environments",
        action="store_true",
        help="this project's environments, from the Docker engine and from the machines of its targets",
    )
    _add_from(verb)
    verb.add_argument("-t", "--target", help="accepted and ignored: the record knows the target")
    add_project(verb)


def _add_from(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--from",
        dest="source",
        metavar="TARGET",
        help="the run is on that machine, and was submitted somewhere else",
    )


def _add_about_a_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    summary = {
        "follow": "show what a run prints, from its beginning, until it is over",
        "status": "say how a run is",
        "return": "bring home what came of a run that is over: logs, metrics, outputs and its record",
        "cancel": "stop a run: TERM, a grace, then KILL of all it started",
    }[name]
    verb = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    verb.add_argument("-r", "--run", required=True, metavar="RUN", help=_RUN)
    if name == "cancel":
        verb.add_argument(
            "--grace",
            type=_seconds,
            default=GRACE_SECONDS,
            metavar="SECONDS",
            help="time between TERM and KILL (default: %(default)s)",
        )
    if name == "return":
        verb.add_argument(
            "-f", "--overwrite", action="store_true", help="download it again, over what is here already"
        )
    _add_from(verb)
    verb.add_argument("-t", "--target", help="accepted and ignored: the record knows the target")
    add_project(verb)
    if name in {"status", "return", "cancel"}:
        verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="form")


def _seconds(text: str) -> int:
    import argparse

    if not text.isdecimal() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = config.find_project(arguments.project or os.getcwd())  # noqa: PTH109 - one import less
    module = import_module(f"amlexec.commands.{_VERBS[arguments.verb]}")
    # `return` is a word of Python's own.
    verb = "bring" if arguments.verb == "return" else arguments.verb
    code: int = getattr(module, verb)(project, arguments)
    return code
