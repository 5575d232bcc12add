"""Compare the metrics of two runs, value by value, within a tolerance."""

from __future__ import annotations

import math
from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from amlexec.history.metric_lines import NOT_FINITE, items

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.metric_lines import Item

__all__ = ["Compared", "MetricDifference", "Tolerance", "compare", "equal"]

_LONGEST = 80
"""Characters of a value in a sentence."""


class Tolerance(NamedTuple):
    """Numbers a and b are equal if |a - b| <= absolute + relative * |a|. NaN equals NaN."""

    relative: float = 0.0
    absolute: float = 0.0


class MetricDifference(NamedTuple):
    """The first difference of a metric."""

    name: str
    before: object
    """The value in the first run; None if it is absent."""
    after: object
    at: int | None
    """The number of the value, counted from 0; None if only one run has the metric."""
    note: str
    """The difference in words, with the step."""


class Compared(NamedTuple):
    """The result of a comparison."""

    names: int
    """How many metrics there are in the two runs together."""
    differences: tuple[MetricDifference, ...]


def compare(one: Path, other: Path, tolerance: Tolerance) -> Compared:
    """Compare two files of metrics.

    They are read side by side, so memory use does not grow with them if both have the same order.

    Raises:
        OSError: a file can't be read.
    """
    series: dict[str, _Series] = {}
    for pair in zip_longest(items(one), items(other)):
        for side, item in enumerate(pair):
            if item is not None:
                series.setdefault(item.name, _Series(item.name, tolerance)).add(side, item)
    found = [difference for each in series.values() if (difference := each.difference()) is not None]
    return Compared(len(series), tuple(found))


class _Series:
    """The values of one metric in both runs, as they are read."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self._name, self._tolerance = name, tolerance
        self._waiting: tuple[deque[Item], deque[Item]] = (deque(), deque())
        self._counts = [0, 0]
        self._compared = 0
        self._found: MetricDifference | None = None

    def add(self, side: int, item: Item) -> None:
        """Add a value of the first run (0) or the second (1)."""
        self._counts[side] += 1
        if self._found is not None:
            return
        self._waiting[side].append(item)
        while self._waiting[0] and self._waiting[1] and self._found is None:
            one, other = self._waiting[0].popleft(), self._waiting[1].popleft()
            if (one.step, one.kind) != (other.step, other.kind) or not equal(
                one.value, other.value, self._tolerance
            ):
                self._found = _differing(self._name, self._compared, one, other)
            self._compared += 1

    def difference(self) -> MetricDifference | None:
        """The first difference, after the last value was added."""
        if self._found is not None or self._counts[0] == self._counts[1]:
            return self._found
        one, other = (side[0].value if side else None for side in self._waiting)
        if not all(self._counts):
            note = f"only in the {'first' if self._counts[0] else 'second'} run"
            return MetricDifference(self._name, one, other, None, note)
        values = "value" if self._counts[0] == 1 else "values"
        note = f"{self._counts[0]} {values}, then {self._counts[1]}"
        return MetricDifference(self._name, one, other, self._compared, note)


def _differing(name: str, at: int, one: Item, other: Item) -> MetricDifference:
    if one.step != other.step:
        note = f"value {at} is of step {_shown(one.step)}, then of step {_shown(other.step)}"
    else:
        where = f"value {at}" if one.step is None else f"step {_shown(one.step)}"
        note = f"{where} is {_shown(one.value)}, then {_shown(other.value)}"
    return MetricDifference(name, one.value, other.value, at, note)


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = value if isinstance(value, str) and value in NOT_FINITE else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def equal(one: object, other: object, tolerance: Tolerance) -> bool:
    """Whether two logged values are equal. NaN and infinite numbers may also be the texts of a file."""
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(equal(*pair, tolerance) for pair in pairs)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key], tolerance) for key in one)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return _close(one, other, tolerance)
    return type(one) is type(other) and one == other


def _close(one: float, other: float, tolerance: Tolerance) -> bool:
    # Equal numbers first: whole numbers may be too large for a float.
    if one == other or (one != one and other != other):
        return True
    try:
        if not (math.isfinite(one) and math.isfinite(other)):
            return False
        return abs(one - other) <= tolerance.absolute + tolerance.relative * abs(one)
    except OverflowError:
        return False
