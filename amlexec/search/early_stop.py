"""The rules of early stopping: whether a running point is so much worse than others that it is stopped.

A rule looks at a point after each value of the metric that its run has logged, and compares it with the other
points after as many values. Pure functions: no I/O, no clock.
"""

from __future__ import annotations

import math
import re
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OF_OPTUNA", "RULES", "EarlyStop", "Progress", "Trace", "checked", "parsed", "reason_to_stop"]


class EarlyStop(NamedTuple):
    """When a running point is stopped because of its metric."""

    rule: str
    """One of `RULES`."""
    options: tuple[tuple[str, float], ...] = ()
    """All options of the rule."""


RULES: dict[str, dict[str, float | None]] = {
    "median": {"delay": 5, "interval": 1, "others": 5},
    "halving": {"first": 1, "factor": 3},
    "bandit": {"slack_factor": None, "slack_amount": None, "delay": 0, "interval": 1},
    "truncation": {"percentage": None, "delay": 0, "interval": 1},
    "hyperband": {"first": 1, "last": 0, "factor": 3},
    "percentile": {"percentage": None, "delay": 0, "others": 5},
}
"""Rule -> its options, with their defaults."""
OF_OPTUNA = frozenset(["hyperband", "percentile"])
"""Rules that only Optuna has."""


def parsed(text: str) -> EarlyStop:
    """The rule of `NAME` or `NAME:OPTION=NUMBER,…`.

    Raises:
        UsageError: there is no such rule or option, or a number is wrong.
    """
    name, _, rest = text.partition(":")
    options: dict[str, float] = {}
    for piece in rest.split(",") if rest else ():
        key, _, number = piece.partition("=")
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", number):
            raise UsageError(
                f"--early-stop {text}: {piece!r} is not an option with a number",
                hint=f"write {name}:{next(iter(RULES.get(name, {'delay': 0})))}=5",
            )
        options[key] = float(number)
    return checked(name, options)


def checked(name: str, options: dict[str, float]) -> EarlyStop:
    """The rule with these options and the defaults of the others.

    Raises:
        UsageError: there is no such rule or option, or a number is out of range.
    """
    if name not in RULES:
        raise UsageError(
            f"there is no rule {name!r} of early stopping", hint=f"choose from {', '.join(RULES)}"
        )
    defaults = RULES[name]
    for key in options:
        if key not in defaults:
            raise UsageError(
                f"the rule {name} of early stopping has no option {key!r}",
                hint=f"it has {', '.join(defaults)}",
            )
    found = {key: value for key, value in defaults.items() if value is not None} | options
    if problem := _problem(name, found):
        raise UsageError(f"the rule {name} of early stopping: {problem}")
    return EarlyStop(name, tuple(found.items()))


def _problem(name: str, options: dict[str, float]) -> str:
    least = {"interval": 1, "others": 1, "first": 1, "factor": 2}
    for key, value in options.items():
        if value < least.get(key, 0):
            return f"{key} is {value:g}; expected {least.get(key, 0)} or more"
        if key not in {"slack_factor", "slack_amount", "percentage"} and value != int(value):
            return f"{key} is {value:g}; expected a whole number"
    if name == "bandit" and ("slack_factor" in options) == ("slack_amount" in options):
        return "expected either slack_factor or slack_amount"
    if "percentage" in RULES[name] and not 0 < options.get("percentage", 0) < 100:
        return "expected a percentage above 0 and below 100"
    return ""


class Progress(NamedTuple):
    """A point after a number of values. Larger is better: the signs of a metric to minimize are reversed."""

    best: float
    average: float
    """Of the finite values."""
    last: float


class Trace:
    """The values of one point, in the order in which its run logged them."""

    def __init__(self, goal: str) -> None:
        """`goal` is `maximize` or `minimize`."""
        self._sign = _sign(goal)
        self._steps: list[Progress] = []
        self._sum, self._finite = 0.0, 0
        self.values: list[float] = []
        """As they were logged."""

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, value: float) -> None:
        """Add a value; NaN is the worst one."""
        self.values.append(value)
        last = -math.inf if math.isnan(value) else self._sign * value
        if math.isfinite(last):
            self._sum += last
            self._finite += 1
        best = max(last, self._steps[-1].best) if self._steps else last
        average = self._sum / self._finite if self._finite else -math.inf
        self._steps.append(Progress(best, average, last))

    def after(self, count: int) -> Progress:
        """The point after `count` values, one or more."""
        return self._steps[count - 1]


def _sign(goal: str) -> float:
    return -1.0 if goal == "minimize" else 1.0


def reason_to_stop(rule: EarlyStop, goal: str, count: int, mine: Trace, others: Iterable[Trace]) -> str:
    """Why a point is stopped after `count` values; "" if it goes on.

    Args:
        rule: the rule with all its options.
        goal: `maximize` or `minimize`.
        count: a number of values of `mine`, one or more.
        mine: the values of the point.
        others: the values of all other points that have begun.
    """
    options = dict(rule.options)
    if rule.rule == "halving":
        if not _is_rung(count, int(options["first"]), int(options["factor"])):
            return ""
    elif count <= options["delay"] or (count - int(options["delay"])) % int(options["interval"]):
        return ""
    far = [other.after(count) for other in others if len(other) >= count]
    words = _RULES[rule.rule](mine.after(count), far, options, _sign(goal))
    return f"stopped early after {count} {'value' if count == 1 else 'values'}: {words}" if words else ""


def _is_rung(count: int, first: int, factor: int) -> bool:
    rung = first
    while rung < count:
        rung *= factor
    return rung == count


def _by_median(mine: Progress, others: list[Progress], options: dict[str, float], sign: float) -> str:
    if len(others) < options["others"]:
        return ""
    limit = median(other.average for other in others)
    if mine.best >= limit:
        return ""
    return (
        f"its best, {sign * mine.best:g}, is worse than the median of {len(others)} others, {sign * limit:g}"
    )


def _by_halving(mine: Progress, others: list[Progress], options: dict[str, float], sign: float) -> str:
    better = sum(other.best > mine.best for other in others)
    kept = max(1, (len(others) + 1) // int(options["factor"]))
    if better < kept:
        return ""
    return f"its best, {sign * mine.best:g}, is worse than that of {better} of {len(others)} others"


def _by_bandit(mine: Progress, others: list[Progress], options: dict[str, float], sign: float) -> str:
    best = max((other.best for other in others), default=-math.inf)
    if not math.isfinite(best):
        return ""
    if "slack_amount" in options:
        limit = best - options["slack_amount"]
    else:
        # To maximize, best / (1 + slack); to minimize, best * (1 + slack). These are worse than the best only
        # if it is positive: else the same distance is taken.
        factor = 1 + options["slack_factor"]
        limit = best - abs(best) * (1 - 1 / factor if sign > 0 else factor - 1)
    if mine.best >= limit:
        return ""
    return f"its best, {sign * mine.best:g}, is worse than {sign * limit:g}; the best is {sign * best:g}"


def _by_truncation(mine: Progress, others: list[Progress], options: dict[str, float], sign: float) -> str:
    worse = sum(other.last < mine.last for other in others)
    dropped = int((len(others) + 1) * options["percentage"] / 100)
    if worse >= dropped:
        return ""
    return f"{sign * mine.last:g} is among the worst {dropped} of {len(others) + 1}"


_RULES = {
    "median": _by_median,
    "halving": _by_halving,
    "bandit": _by_bandit,
    "truncation": _by_truncation,
}
assert _RULES.keys() == RULES.keys() - OF_OPTUNA
