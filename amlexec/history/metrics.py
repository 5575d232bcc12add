"""Read the metrics that a run has logged: its `metrics.jsonl`, written by `amlexec.run`."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from amlexec.checked_values import is_deep
from amlexec.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MOST_VALUES", "Metrics", "Summary", "read_all", "summary"]

MOST_VALUES = 100_000
"""Values of one name that are kept in memory: the newest ones."""
LARGEST_VALUE = 64 * 1024
"""Bytes of a line whose value goes into the record; larger values stay in the file only."""
MOST_NAMES = 10_000
"""Names that go into the record."""
LONGEST_LINE = 8 * 1024 * 1024
"""In bytes. A longer line is not a metric."""
_MOST_STARTS = 100
"""Places in a torn line where the next metric may begin: a value may contain a similar text."""
START = b'{"name": '
"""The beginning of every line."""


class Metrics(NamedTuple):
    """Metrics, and counts of unreadable and dropped ones."""

    values: dict[str, object]
    """By name, in the order of first use; a list for a name with several values."""
    unreadable: int = 0
    """Lines that are not metrics: torn by a full disk, or written by another program."""
    dropped: int = 0
    """Omitted old values, of names with more than `MOST_VALUES`."""


class Summary(NamedTuple):
    """The metrics in a record."""

    values: dict[str, object]
    """The last value of each name, in the order of first use."""
    counts: dict[str, int]
    """The number of logged values of each name."""
    unreadable: int = 0
    """As in `Metrics`."""
    left_out: int = 0
    """Names whose last value is too large or nested too deeply, and those after `MOST_NAMES`."""


def summary(path: Path) -> Summary:
    """The last value and the count of every metric. Memory use does not grow with the file.

    Raises as `read_all` does.
    """
    values: dict[str, object] = {}
    counts: dict[str, int] = {}
    unreadable = 0
    left_out: set[str] = set()
    for item in _items(path):
        if item is None:
            unreadable += 1
        elif len(counts) < MOST_NAMES or item.name in counts:
            counts[item.name] = counts.get(item.name, 0) + 1
            if item.size > LARGEST_VALUE or is_deep(item.value):
                values[item.name] = _TOO_LARGE
            else:
                values[item.name] = item.value
        elif len(left_out) < MOST_NAMES:
            left_out.add(item.name)
    large = [name for name, value in values.items() if value is _TOO_LARGE]
    for name in large:
        del values[name], counts[name]
    return Summary(values, counts, unreadable, len(large) + len(left_out))


_TOO_LARGE = object()


class _Item(NamedTuple):
    """A metric in a line."""

    name: str
    value: object
    size: int
    """Size of the line in bytes."""


def read_all(path: Path) -> Metrics:
    """Every metric, with the count of unreadable lines.

    A missing file has no metrics. An incomplete last line is not counted: the run may be writing it. Raises
    OSError if the file can't be read.
    """
    series: dict[str, deque[object]] = {}
    logged: dict[str, int] = {}
    unreadable = 0
    for item in _items(path):
        if item is None:
            unreadable += 1
            continue
        name, value, _ = item
        series.setdefault(name, deque(maxlen=MOST_VALUES)).append(value)
        logged[name] = logged.get(name, 0) + 1
    values = {name: kept[0] if logged[name] == 1 else list(kept) for name, kept in series.items()}
    dropped = sum(logged[name] - len(kept) for name, kept in series.items())
    return Metrics(values, unreadable, dropped)


def _items(path: Path) -> Iterator[_Item | None]:
    """The metric of every line; None for a line that is not a metric."""
    try:
        file = open_regular(path, follow=False)
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(LONGEST_LINE):
            whole = line.endswith(b"\n")
            if not whole and len(line) == LONGEST_LINE:
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield None
                continue
            item = _item(line)
            if item is not None:
                yield item
                continue
            # An incomplete write has no newline: the next metric follows on the same line.
            following = _following(line)
            if line.strip() and (whole or following is not None):
                yield None
            if following is not None:
                yield following


def _item(line: bytes) -> _Item | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "value" not in record or not isinstance(record.get("name"), str):
        return None
    return _Item(record["name"], record["value"], len(line))


def _following(line: bytes) -> _Item | None:
    """The metric that follows an incomplete one on the same line."""
    start = line.find(START, 1)
    for _ in range(_MOST_STARTS):
        if start < 0:
            break
        item = _item(line[start:])
        if item is not None:
            return item
        start = line.find(START, start + 1)
    return None
