"""The arguments of `amlexec experiment sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.commands.options import add_project, add_script, add_target, add_text_or_json
from amlexec.sweeps.definition import GOALS

if TYPE_CHECKING:
    import argparse

__all__ = ["declare"]

_VALUES = """\
Values of an argument are written `0.1,0.01` (a list), `2..6` (whole numbers), `0..1:0.25` (with a step),
`1..64:x2` (with a factor), `1e-4..1:log` (logarithmic: in a grid the powers of ten) or `0.0..1.0` (all
numbers: for a random search). Quotes keep a comma: `"'a,b',c"`."""


def declare(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str) -> None:
    """Declare them as the verb `name`."""
    verb = verbs.add_parser(
        name,
        help="run a script with many values of its arguments, several runs at a time",
        description="Run a script once for each point of a search space. All runs execute one snapshot of "
        "the project. All arguments after the script's name belong to the script; those with several values "
        "span the space.",
        epilog=_VALUES,
        allow_abbrev=False,
    )
    verb.add_argument(
        "-c",
        "--run-configuration",
        "--runconfig",
        action="append",
        metavar="NAME",
        help="run configuration, NAME.runconfig; repeat it to share the points among several targets",
    )
    add_target(verb, "Target of the file")
    verb.add_argument(
        "-j",
        "--jobs",
        type=_count,
        metavar="N",
        help="runs at once on each target (default: 1; on a Slurm cluster as many as it starts)",
    )
    how = verb.add_mutually_exclusive_group()
    how.add_argument("--random", type=_count, metavar="N", help="N random points instead of the whole grid")
    how.add_argument(
        "--optuna", type=_count, metavar="N", help="N points that a sampler of Optuna chooses by the metric"
    )
    how.add_argument("--list", metavar="FILE", help="the points of a .csv, .json, .jsonl or .yaml file")
    verb.add_argument(
        "--sampler",
        metavar="NAME",
        help="Optuna's sampler: tpe (the default), random, cmaes or gp",
    )
    verb.add_argument("--seed", type=_seed, metavar="N", help="of a search at random (default: a new one)")
    verb.add_argument("--metric", metavar="NAME", help="logged metric that the points are compared by")
    verb.add_argument("--goal", choices=GOALS, help="whether a larger or a smaller metric is better")
    verb.add_argument(
        "--early-stop",
        metavar="RULE",
        help="stop runs whose metric is worse than that of others: median, halving, bandit:slack_factor=0.1 "
        "or truncation:percentage=20, each also with other options: median:delay=5,interval=1,others=5; with "
        "--optuna also hyperband and percentile:percentage=25",
    )
    verb.add_argument("--fail-fast", action="store_true", help="start no more runs after a failed one")
    verb.add_argument("--timeout", type=_count, metavar="SECONDS", help="start no more runs after that time")
    verb.add_argument("--run-timeout", type=_count, metavar="SECONDS", help="stop a run after that time")
    verb.add_argument(
        "--job",
        metavar="FILE",
        help="sweep job of Azure Machine Learning (CLI v2): its search space, script, objective, limits and "
        "early termination; environment and compute are the run configuration's",
    )
    verb.add_argument("--prepare", action="store_true", help="prepare the environment first")
    what = verb.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only list the points, in their order")
    what.add_argument("--resume", metavar="SWEEP", help="continue a sweep: its id, a prefix of it, or `last`")
    verb.add_argument(
        "--retry", action="store_true", help="with --resume: also run failed and canceled points again"
    )
    add_project(verb)
    add_text_or_json(verb, "the sweep with all its points on standard output")
    add_script(verb, "argument of the script, with one value or several")


def _count(text: str) -> int:
    return _number(text, 1, 1_000_000)


def _seed(text: str) -> int:
    return _number(text, 0, 1 << 62)


def _number(text: str, least: int, most: int) -> int:
    import argparse

    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most:,}")
    return int(text)
