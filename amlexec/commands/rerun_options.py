"""The options of `amlexec experiment rerun`."""

from __future__ import annotations

import argparse
import math

from amlexec.commands.options import (
    RUN,
    add_project,
    add_script_arguments,
    add_target,
    add_text_or_json,
)

__all__ = ["declare"]


def declare(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    """Declare the arguments."""
    verb = verbs.add_parser(
        name,
        help="run a recorded run again: the same code, environment, arguments and variables",
        description="Run a recorded run again: its snapshot, its environment by its resolved lock, its "
        "arguments and its variables. What can't be as it was is named before anything starts. Options of "
        "the script after the run's id and amlexec's own options replace recorded ones of the same name.",
        allow_abbrev=False,
    )
    add_target(verb, "the run's")
    verb.add_argument("-a", "--async", dest="detach", action="store_true", help="don't wait for it to end")
    verb.add_argument(
        "--replace",
        action="store_true",
        help="the ARGUMENTs are all arguments, and none of the recorded ones is used",
    )
    verb.add_argument(
        "--accept-changes",
        action="store_true",
        help="run it even if something can't be as it was; warnings name it",
    )
    verb.add_argument(
        "--verify",
        action="store_true",
        help="compare outputs bit for bit, and metrics; exit code 0 if all are equal, 1 if not",
    )
    for option, what in (("--rtol", "relative to the first run's value"), ("--atol", "absolute")):
        verb.add_argument(
            option,
            type=_tolerance,
            default=0.0,
            metavar="NUMBER",
            help=f"with --verify: tolerance for metrics, {what} (default: 0)",
        )
    add_project(verb)
    add_text_or_json(
        verb,
        "the new run's record, or with --verify the comparison, on standard output; everything else on "
        "standard error",
    )
    verb.add_argument(
        "--bundle",
        metavar="FILE",
        help="run the run in this file of `amlexec history bundle`, instead of a RUN; outside of a project, "
        "this makes a folder with its files",
    )
    verb.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    add_script_arguments(
        verb, "option of the script, with its values: replaces the recorded one of the same name"
    )


def _tolerance(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not math.isfinite(number) or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return number
