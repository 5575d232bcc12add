"""`amlexec gc`: free disk space, here and on the targets."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.options import add_project, project_of
from amlexec.commands.output import as_json, size
from amlexec.config import load as config
from amlexec.errors import TargetError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from amlexec.gc.model import Item, Plan
    from amlexec.gc.places import Outcome
    from amlexec.gc.remove import Result
    from amlexec.gc.rules import Rules
    from amlexec.values import Project

__all__ = ["add", "run"]

_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[kMGT]?)(?P<binary>i?)B?")
_POWERS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4}
_AGE = re.compile(r"(?P<number>[0-9]+)(?P<unit>[hdw])")
_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_MOST_PINS = 20


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    verb = groups.add_parser(
        "gc",
        help="free disk space: remove what no run needs, here and on all targets",
        description="Remove what nothing refers to: environments, images, snapshots, files of killed "
        "processes, here and on all targets. With rules, also remove finished runs, and what only they need. "
        "A run stays if any rule keeps it; tagged runs, and runs that have not ended, always stay.",
        allow_abbrev=False,
    )
    verb.add_argument("--plan", action="store_true", help="only print what would be removed, and why")
    verb.add_argument(
        "--max",
        type=_size,
        metavar="SIZE",
        help="remove caches, copies and the oldest runs until no more than this is left, such as 20GB",
    )
    verb.add_argument("--keep-last", type=_count, metavar="N", help="keep the newest N finished runs")
    verb.add_argument("--keep-best", type=_count, metavar="N", help="keep the best N runs; needs --by")
    verb.add_argument(
        "--by", metavar="METRIC:min|max", help="what makes a run the best, such as metrics.loss:min"
    )
    verb.add_argument(
        "--older-than", type=_age, metavar="AGE", help="keep runs that are younger, such as 30d (h, d or w)"
    )
    verb.add_argument(
        "-t", "--target", metavar="NAME", help="ask only this compute target, and remove only its runs"
    )
    verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="output format")
    add_project(verb)


def _size(text: str) -> int:
    import argparse

    match = _SIZE.fullmatch(text)
    if match is None or (match["binary"] and not match["unit"]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 20GB or 500MiB")
    return int(float(match["number"]) * (1024 if match["binary"] else 1000) ** _POWERS[match["unit"]])


def _count(text: str) -> int:
    import argparse

    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs")
    return int(text)


def _age(text: str) -> int:
    import argparse

    match = _AGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age such as 12h, 30d or 8w")
    return int(match["number"]) * _SECONDS[match["unit"]]


def run(arguments: argparse.Namespace) -> int:
    """Plan, print, and remove; the exit code."""
    project = project_of(arguments)
    rules = _rules(project, arguments)
    if arguments.plan:
        return _planned(project, arguments, rules)
    from amlexec.gc import remove

    lock = remove.alone(project)
    try:
        return _planned(project, arguments, rules)
    finally:
        lock.release()


def _rules(project: Project, arguments: argparse.Namespace) -> Rules:
    from amlexec.gc.rules import Rules, ranking_of
    from amlexec.history.record import instant

    if (arguments.keep_best is None) != (arguments.by is None):
        missing = "--keep-best needs --by" if arguments.by is None else "--by needs --keep-best"
        raise UsageError(missing, hint="for example: --keep-best 5 --by metrics.loss:min")
    if arguments.target:
        config.load_target(project, arguments.target)
    age = arguments.older_than
    return Rules(
        arguments.keep_last,
        arguments.keep_best,
        None if arguments.by is None else ranking_of(arguments.by),
        "" if age is None else instant(time.time() - age),
        arguments.target or "",
    )


def _planned(project: Project, arguments: argparse.Namespace, rules: Rules) -> int:
    from amlexec.gc import inventory, plan, project_places, remove

    places, unclear = project_places.places(project, arguments.target or "")
    taken = inventory.take(
        project,
        rules,
        places,
        unclear,
        with_caches=arguments.max is not None or arguments.older_than is not None,
    )
    made = plan.made(
        taken.inventory.items,
        taken.chosen,
        spared=taken.spared,
        limit=arguments.max,
        unused_since=None if arguments.older_than is None else time.time() - arguments.older_than,
    )
    problems = [*taken.inventory.problems]
    result = None
    if not arguments.plan:
        result = remove.carry_out(project, made, places)
        problems += result.problems
    if arguments.output == "json":
        console.data(as_json(_as_json(made, result, problems)))
    else:
        _print(made, result, taken.spared)
    code = 0
    for problem in problems:
        code = console.show(problem)
    if made.excess:
        code = console.show(_above(made))
    return code


def _print(made: Plan, result: Result | None, spared: Mapping[str, str]) -> None:
    kept = {} if result is None else {each.item.key: each.kept for each in result.outcomes if each.kept}
    for removed in made.removed:
        item = removed.item
        if item.key in kept:
            console.data(f"kept     {_line(item)}  {kept[item.key]}")
        else:
            console.data(f"{'removed' if result else 'remove':8} {_line(item)}  {removed.reason}")
    pinned = [item for item in made.kept if item.pin and item.kind == "run" and item.key not in spared]
    for item in pinned[:_MOST_PINS]:
        console.say(f"keeps the run {item.name}: {item.pin}")
    if len(pinned) > _MOST_PINS:
        console.say(f"keeps {len(pinned) - _MOST_PINS} more runs: -o json lists them")
    if result is not None and result.snapshots is not None:
        before, after = result.snapshots.before, result.snapshots.after
        if after < before:
            console.say(f"the snapshots took {size(before)}, and now take {size(after)}")
    freed = sum(removed.item.size for removed in made.removed if removed.item.key not in kept)
    word = "would be freed" if result is None else "freed"
    console.say(f"{size(freed)} {word}, {size(made.left + made.freed - freed)} kept")


def _line(item: Item) -> str:
    place = "" if item.place == "here" else f" on {item.place}"
    return f"{size(item.size):>9}  {item.kind} {item.name}{place}"


def _above(made: Plan) -> TargetError:
    """The error that a limit does not hold, with what prevents it."""
    pinned = sorted((item for item in made.kept if item.pin), key=lambda item: -item.size)
    names = [f"{item.kind} {item.name} ({size(item.size)}): {item.pin}" for item in pinned[:5]]
    more = f"; and {len(pinned) - 5} more" if len(pinned) > 5 else ""
    return TargetError(
        f"--max {size(made.limit or 0)} does not hold: {size(made.left)} stay", hint="; ".join(names) + more
    )


def _as_json(made: Plan, result: Result | None, problems: Sequence[Exception]) -> dict[str, object]:
    outcomes: dict[str, Outcome] = {} if result is None else {each.item.key: each for each in result.outcomes}
    removed = []
    kept = [{**_entry(item), "reason": item.pin} for item in made.kept if item.pin]
    for each in made.removed:
        outcome = outcomes.get(each.item.key)
        if outcome is not None and outcome.kept:
            kept.append({**_entry(each.item), "reason": outcome.kept})
        else:
            removed.append({**_entry(each.item), "reason": each.reason})
    return {
        "done": result is not None,
        "removed": removed,
        "kept": kept,
        "freed_bytes": sum(int(str(entry["bytes"])) for entry in removed),
        "left_bytes": made.left,
        "max_bytes": made.limit,
        "excess_bytes": made.excess,
        "snapshots": None if result is None or result.snapshots is None else result.snapshots._asdict(),
        "problems": [str(problem) for problem in problems],
    }


def _entry(item: Item) -> dict[str, object]:
    return {"kind": item.kind, "place": item.place, "name": item.name, "bytes": item.size}
