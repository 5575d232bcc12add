"""What a script has logged: every value of its `metrics.jsonl`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.history.metric_lines import items

if TYPE_CHECKING:
    from pathlib import Path


class Metrics(NamedTuple):
    """Metrics, and the count of lines that are none."""

    values: dict[str, object]
    """By name, in the order of first use; a list for a name with several values."""
    unreadable: int = 0


def read_all(path: Path) -> Metrics:
    """Every metric of a file."""
    series: dict[str, list[object]] = {}
    unreadable = 0
    for item in items(path):
        if item is None:
            unreadable += 1
        else:
            series.setdefault(item.name, []).append(item.value)
    return Metrics({name: kept[0] if len(kept) == 1 else kept for name, kept in series.items()}, unreadable)
