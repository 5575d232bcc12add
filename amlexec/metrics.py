"""Reading the metrics that a run has logged: its `metrics.jsonl`, as `amlexec.run` writes it."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MOST_VALUES", "Metrics", "latest", "read", "read_all"]

MOST_VALUES = 100_000
"""Values of one name that are kept in memory: the newest."""
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes. A line over it is nothing that was logged."""
START = b'{"name": '
"""How every line begins."""


class Metrics(NamedTuple):
    """What was read, and what was not."""

    values: dict[str, object]
    """By name, in the order of first use; a name that was logged more than once has a list."""
    unreadable: int = 0
    """Lines that are no metric: torn by a full disk, or written by something else."""
    dropped: int = 0
    """Old values left out, of names with more than `MOST_VALUES`."""


def read(path: Path) -> dict[str, object]:
    """Every metric by name; a name that was logged more than once has the list of its values, in order."""
    return read_all(path).values


def latest(path: Path) -> dict[str, object]:
    """The last value of every metric; holds one value of each in memory, however long the file is."""
    return {name: value for item in _items(path) if item is not None for name, value in (item,)}


def read_all(path: Path) -> Metrics:
    """Every metric, with the count of what could not be read.

    A file that is not there has no metrics. A torn last line is not counted: it may be in the writing.
    Raises OSError where the file can't be read.
    """
    series: dict[str, deque[object]] = {}
    logged: dict[str, int] = {}
    unreadable = 0
    for item in _items(path):
        if item is None:
            unreadable += 1
            continue
        name, value = item
        series.setdefault(name, deque(maxlen=MOST_VALUES)).append(value)
        logged[name] = logged.get(name, 0) + 1
    values = {name: kept[0] if logged[name] == 1 else list(kept) for name, kept in series.items()}
    dropped = sum(logged[name] - len(kept) for name, kept in series.items())
    return Metrics(values, unreadable, dropped)


def _items(path: Path) -> Iterator[tuple[str, object] | None]:
    """Name and value of every line; None for one that is no metric."""
    try:
        file = path.open("rb")
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
            # A write that was cut short has no newline: the next line of the run stands right behind it.
            behind = _behind(line)
            if line.strip() and (whole or behind is not None):
                yield None
            if behind is not None:
                yield behind


def _item(line: bytes) -> tuple[str, object] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "value" not in record or not isinstance(record.get("name"), str):
        return None
    return record["name"], record["value"]


def _behind(line: bytes) -> tuple[str, object] | None:
    """The metric that stands behind a torn one on the same line."""
    start = line.find(START, 1)
    while start > 0:
        item = _item(line[start:])
        if item is not None:
            return item
        start = line.find(START, start + 1)
    return None
