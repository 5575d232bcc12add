"""The series of a run's metrics: every value of a name, with its step and time.

    for name, series in read_series(paths.metrics).items():
        draw(name, downsampled(series, 500))

Memory is bounded, whatever a run has logged: a million points need 24 MB. Above `MOST_POINTS` points of all
names together, long series are thinned as `downsampled` does it.
"""

from __future__ import annotations

from array import array
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.history import downsample, output_series
from amlexec.history.metric_lines import NOT_FINITE, SCALAR, Numbers, blocks

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from amlexec.history.metric_lines import Item

__all__ = ["MIXED", "MOST_POINTS", "SCALAR", "Series", "as_curve", "downsampled", "read_series"]

MIXED = "mixed"
MOST_POINTS = 2_000_000
"""Points of scalars of all names."""
_MOST_BYTES = 16 << 20
"""Other values of all names, as text; the newest ones are kept."""
_MOST_NAMES = 10_000


class Series(NamedTuple):
    """The values of one name, in the order in which they were written: several processes may mix steps."""

    name: str
    kind: str
    """`scalar` for numbers; `text`, `list`, `row` for values without a kind; `mixed` for a name with several
    kinds; else the kind that the script gave: `table`, `image`, `confusion_matrix`, …"""
    steps: Sequence[float]
    """The logged steps. Without one, the number of the value: 0, 1, 2, …"""
    times: Sequence[float]
    """Seconds since 1970; NaN if unknown."""
    values: Sequence[Any]
    """An array of floats for scalars, NaN and infinities included (true is 1.0, null is NaN); a list of plain
    JSON for other kinds. The value of an image or a file is its path below the run's folder."""
    logged: int
    """Number of logged values; more than `len(values)` if there were too many to keep."""


def read_series(path: Path) -> dict[str, Series]:
    """The series of every name, in the order of first use. `path` is a run's `metrics.jsonl`.

    Series of TensorBoard and MLflow in the run's outputs follow (`output_series`). A missing file has none.
    Lines that are not metrics, and outputs that can't be read, are left out. Raises OSError if the file can't
    be read.
    """
    collection = _Collection()
    for block in blocks(path):
        collection.add_block(block)
    own = set(collection.builders)
    for source in output_series.sources(path.parent):
        for block in source.blocks(own):
            collection.add_block(block)
        if source.is_resumed:
            collection.join_steps(own)
    return {name: builder.series(name) for name, builder in collection.builders.items()}


def as_curve(series: Series) -> Series:
    """The series to draw: a list of numbers that is the only value of its name is a curve over positions."""
    if series.kind != "list" or series.logged != 1 or len(series.values) != 1:
        return series
    values = array("d")
    for value in series.values[0]:
        number = _float(value)
        if number is None or isinstance(value, bool):
            return series
        values.append(number)
    if len(values) < 2:
        return series
    times = array("d", [series.times[0]] * len(values))
    return Series(series.name, SCALAR, array("q", range(len(values))), times, values, len(values))


def downsampled(series: Series, points: int) -> Series:
    """The series with at most `points` of its points; the same for the same data.

    Scalars keep the first, last, smallest and largest value and their gaps (`downsample.chosen`); of other
    kinds, evenly spaced values are kept. No point is invented. Raises ValueError for fewer than
    `downsample.FEWEST`.
    """
    if series.kind == SCALAR:
        kept = downsample.chosen(series.values, points)
    else:
        kept = _spaced(len(series.values), points)
    if len(kept) == len(series.values):
        return series
    steps, times, values = (_picked(each, kept) for each in (series.steps, series.times, series.values))
    return series._replace(steps=steps, times=times, values=values)


def _spaced(count: int, points: int) -> list[int]:
    downsample.chosen((), points)
    if count <= points:
        return list(range(count))
    return [at * (count - 1) // (points - 1) for at in range(points)]


def _picked(values: Any, kept: Sequence[int]) -> Any:
    found = [values[at] for at in kept]
    return array(values.typecode, found) if isinstance(values, array) else found


class _Collection:
    """The series that are being read, within the limits for all of them."""

    def __init__(self) -> None:
        self.builders: dict[str, _Builder] = {}
        self._points = 0
        self._bytes = 0
        self._others: deque[tuple[_Builder, int]] = deque()
        """The kept values that are not scalars, oldest first, and their sizes."""

    def add_block(self, block: Numbers | Sequence[Item | None]) -> None:
        if isinstance(block, Numbers):
            self.add_numbers(block)
            return
        for item in filter(None, block):
            self.add(item)

    def join_steps(self, besides: Container[str]) -> None:
        """Let each step occur once, except in the series `besides`."""
        for name, builder in self.builders.items():
            if name not in besides:
                self._points -= builder.join_steps()

    def add_numbers(self, block: Numbers) -> None:
        names = dict.fromkeys(block.names)
        if len(names) == 1:
            self._extend(block.names[0], block.values, block.times, block.steps)
            return
        period = len(names)
        if block.names == (list(names) * (len(block.names) // period + 1))[: len(block.names)]:
            # A loop that logs the same names again and again: slices are faster than a look at each name.
            for at, name in enumerate(names):
                part = slice(at, None, period)
                self._extend(name, block.values[part], block.times[part], block.steps[part])
            return
        positions: dict[str, list[int]] = {name: [] for name in names}
        for at, name in enumerate(block.names):
            positions[name].append(at)
        for name, chosen in positions.items():
            values, times = ([column[at] for at in chosen] for column in (block.values, block.times))
            self._extend(name, values, times, [block.steps[at] for at in chosen])

    def add(self, item: Item) -> None:
        number = _number_of(item)
        if number is not None:
            self._extend(item.name, [number], [item.time], [item.step])
        elif (builder := self._builder(item.name)) is not None:
            builder.add_other(item)
            self._bytes += item.size
            self._others.append((builder, item.size))
            while self._bytes > _MOST_BYTES and len(self._others) > 1:
                oldest, size = self._others.popleft()
                oldest.others.popleft()
                self._bytes -= size

    def _builder(self, name: str) -> _Builder | None:
        if name not in self.builders and len(self.builders) < _MOST_NAMES:
            self.builders[name] = _Builder()
        return self.builders.get(name)

    def _extend(
        self, name: str, values: list[float], times: list[float], steps: Sequence[float | None]
    ) -> None:
        if (builder := self._builder(name)) is None:
            return
        builder.extend(values, times, steps)
        self._points += len(values)
        while self._points > MOST_POINTS:
            longest = max(self.builders.values(), key=lambda each: len(each.numbers))
            self._points -= longest.thin()


def _number_of(item: Item) -> float | None:
    """The number that a value stands for; None if it is another kind of value."""
    return _float(item.value) if item.kind in {"", SCALAR} else None


def _float(value: object) -> float | None:
    if value is None:
        return NOT_FINITE["NaN"]
    if isinstance(value, str):
        return NOT_FINITE.get(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


class _Other(NamedTuple):
    """A value that is not a scalar, with its number among all values of the name."""

    ordinal: int
    step: float
    time: float
    value: object


class _Builder:
    """The series of one name while it is read."""

    def __init__(self) -> None:
        self.count = 0
        self.numbers = array("d")
        self._steps: array[Any] = array("q")
        self._times = array("d")
        self._ordinals: array[int] | None = None
        """The number of each scalar among all values; None while that is its position."""
        self.others: deque[_Other] = deque()
        self._kinds: set[str] = set()

    def extend(self, values: list[float], times: list[float], steps: Sequence[float | None]) -> None:
        numbers = range(self.count, self.count + len(values))
        if self._ordinals is None and self._kinds:
            self._ordinals = array("q", range(len(self.numbers)))
        if self._ordinals is not None:
            self._ordinals.extend(numbers)
        self.count += len(values)
        self.numbers.extend(values)
        self._times.extend(times)
        own: Sequence[float] = numbers
        if steps[0] is not None:
            own = [number if step is None else step for step, number in zip(steps, numbers, strict=True)]
        if self._steps.typecode == "q" and own is not numbers and set(map(type, own)) != {int}:
            self._steps = array("d", self._steps)
        self._steps.extend(own)

    def add_other(self, item: Item) -> None:
        step = self.count if item.step is None else item.step
        self.others.append(_Other(self.count, step, item.time, item.value))
        self._kinds.add(item.kind or _kind_of(item.value))
        self.count += 1

    def thin(self) -> int:
        """Remove half of the scalars; returns their number."""
        before = len(self.numbers)
        ordinals = range(before) if self._ordinals is None else self._ordinals
        kept = downsample.chosen(self.numbers, max(before // 2, downsample.FEWEST), ordinals)
        self._ordinals = array("q", [ordinals[at] for at in kept])
        self.numbers, self._steps, self._times = (
            _picked(each, kept) for each in (self.numbers, self._steps, self._times)
        )
        return before - len(self.numbers)

    def join_steps(self) -> int:
        """Keep the latest value of each step, in the order of steps; returns the number of removed ones."""
        steps = self._steps
        if all(step < following for step, following in pairwise(steps)):
            return 0
        order = sorted(range(len(steps)), key=lambda at: (steps[at], self._times[at]))
        kept = [at for at, following in pairwise(order) if steps[at] != steps[following]]
        kept += order[-1:]
        removed = len(steps) - len(kept)
        self.numbers, self._steps, self._times = (
            _picked(each, kept) for each in (self.numbers, self._steps, self._times)
        )
        self.count -= removed
        self._ordinals = None
        return removed

    def series(self, name: str) -> Series:
        if not self._kinds:
            return Series(name, SCALAR, self._steps, self._times, self.numbers, self.count)
        others = [*self.others]
        if self.numbers:
            ordinals = range(len(self.numbers)) if self._ordinals is None else self._ordinals
            numbers = map(_Other, ordinals, self._steps, self._times, self.numbers)
            others = sorted([*others, *numbers], key=lambda each: each.ordinal)
        kind = MIXED if self.numbers or len(self._kinds) > 1 else min(self._kinds)
        return Series(
            name,
            kind,
            [each.step for each in others],
            [each.time for each in others],
            [each.value for each in others],
            self.count,
        )


def _kind_of(value: object) -> str:
    return "list" if isinstance(value, list) else "row" if isinstance(value, dict) else "text"
