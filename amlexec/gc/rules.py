"""Which finished runs are removed: the rules of the command line. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.gc.run_facts import RunFacts

__all__ = ["Ranking", "Rules", "Selection", "ranking_of", "select"]

_RANKING = re.compile(r"metrics\.(?P<name>.+):(?P<direction>min|max)", re.DOTALL)


class Ranking(NamedTuple):
    """What makes a run one of the best."""

    metric: str
    is_smallest: bool


class Rules(NamedTuple):
    """The command line. Without any of these, no run is removed."""

    keep_last: int | None = None
    keep_best: int | None = None
    by: Ranking | None = None
    created_before: str = ""
    """Runs that were created later are kept; in the form of a record's times. "" for no such rule."""
    target: str = ""
    """Only runs on this compute target are removed; "" for any."""

    @property
    def is_empty(self) -> bool:
        """Whether no rule removes runs."""
        return self.keep_last is None and self.keep_best is None and not self.created_before


class Selection(NamedTuple):
    """Run ids, with the reason for each."""

    removed: dict[str, str]
    spared: dict[str, str]
    """Runs that a rule keeps: they stay even above a limit."""


def ranking_of(text: str) -> Ranking:
    """`metrics.loss:min` as a value.

    Raises:
        UsageError: it has another form.
    """
    match = _RANKING.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--by {text!r} is not a metric and a direction",
            hint="for example: --by metrics.loss:min, or --by metrics.accuracy:max",
        )
    return Ranking(match["name"], match["direction"] == "min")


def select(runs: Iterable[RunFacts], rules: Rules) -> Selection:
    """Sort the finished runs, newest first, into those that the rules remove and those that they keep.

    A run stays if any rule keeps it. Runs that have not ended are in neither.
    """
    finished = sorted(
        (run for run in runs if run.is_finished), key=lambda run: (run.created_utc, run.run_id), reverse=True
    )
    spared: dict[str, str] = {}
    if rules.keep_last is not None:
        for run in finished[: rules.keep_last]:
            spared.setdefault(run.run_id, f"one of the last {rules.keep_last}")
    if rules.keep_best is not None and rules.by is not None:
        for run in _best(finished, rules.by)[: rules.keep_best]:
            spared.setdefault(run.run_id, f"one of the best {rules.keep_best} by {rules.by.metric}")
    if rules.created_before:
        for run in finished:
            if run.created_utc >= rules.created_before:
                spared.setdefault(run.run_id, "younger than --older-than")
    others = {
        run.run_id: f"it did not run on {rules.target}"
        for run in finished
        if rules.target and run.target != rules.target
    }
    spared = {**others, **spared}
    if rules.is_empty:
        return Selection({}, spared)
    why = " and ".join(_reasons(rules))
    return Selection({run.run_id: why for run in finished if run.run_id not in spared}, spared)


def _reasons(rules: Rules) -> list[str]:
    found = []
    if rules.created_before:
        found.append("older than --older-than")
    if rules.keep_last is not None:
        found.append(f"not one of the last {rules.keep_last}")
    if rules.keep_best is not None and rules.by is not None:
        found.append(f"not one of the best {rules.keep_best} by {rules.by.metric}")
    return found


def _best(newest_first: Sequence[RunFacts], by: Ranking) -> list[RunFacts]:
    """The completed runs with a number for that metric, the best first; of equal ones, the newest first."""
    ranked: list[tuple[float, RunFacts]] = []
    for run in newest_first:
        value = run.metrics.get(by.metric)
        if run.status != "Completed" or not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        if not math.isnan(value):
            ranked.append((value if by.is_smallest else -value, run))
    return [run for _, run in sorted(ranked, key=lambda pair: pair[0])]
