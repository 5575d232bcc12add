"""Read the metrics that a run has logged: its `metrics.jsonl`, written by `amlexec.run`."""

from __future__ import annotations

from collections import Counter

from amlexec.checked_values import is_deep
from amlexec.history.metric_lines import Numbers, blocks, plain
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.history.metric_lines import Item
    from amlexec.history.output_series import Source

__all__ = ["Summary", "summary"]

LARGEST_VALUE = 64 * 1024
"""Bytes of a line whose value goes into the record; larger values stay in the file only."""
MOST_NAMES = 10_000
"""Names that go into the record."""


class Summary(NamedTuple):
    """The metrics in a record."""

    values: dict[str, object]
    """The last value of each name, in the order of first use."""
    counts: dict[str, int]
    """The number of logged values of each name."""
    unreadable: int = 0
    """Lines that are not metrics: torn by a full disk, or written by another program."""
    left_out: int = 0
    """Names whose last value is too large or nested too deeply, and those after `MOST_NAMES`."""


def summary(path: Path, sources: Sequence[Source] = ()) -> Summary:
    """The last value and the count of every metric. Memory use does not grow with the file.

    `sources` are those of other loggers, whose values follow. Raises OSError if the file can't be read.
    """
    found = _Summary()
    for block in blocks(path):
        found.add_block(block)
    own = found.names()
    for source in sources:
        for block in source.blocks(own):
            found.add_block(block)
    return found.summary()


class _Summary:
    """A summary in the making."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}
        self._counts: dict[str, int] = {}
        self._unreadable = 0
        self._left_out: set[str] = set()

    def names(self) -> frozenset[str]:
        return frozenset(self._counts)

    def add_block(self, block: Numbers | Sequence[Item | None]) -> None:
        if isinstance(block, Numbers):
            self.add_numbers(block)
        else:
            for item in block:
                self.add(item)

    def add_numbers(self, block: Numbers) -> None:
        counts = Counter(block.names)
        values = dict(zip(block.names, block.values, strict=True))
        for name, count in counts.items():
            self._add(name, plain(values[name]), count)

    def add(self, item: Item | None) -> None:
        if item is None:
            self._unreadable += 1
        elif item.size > LARGEST_VALUE or is_deep(item.value):
            self._add(item.name, _TOO_LARGE, 1)
        else:
            self._add(item.name, item.value, 1)

    def _add(self, name: str, value: object, count: int) -> None:
        if name in self._counts or len(self._counts) < MOST_NAMES:
            self._counts[name] = self._counts.get(name, 0) + count
            self._values[name] = value
        elif len(self._left_out) < MOST_NAMES:
            self._left_out.add(name)

    def summary(self) -> Summary:
        values = {name: value for name, value in self._values.items() if value is not _TOO_LARGE}
        counts = {name: self._counts[name] for name in values}
        left_out = len(self._values) - len(values) + len(self._left_out)
        return Summary(values, counts, self._unreadable, left_out)


_TOO_LARGE = object()
