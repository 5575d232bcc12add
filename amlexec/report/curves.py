"""The metrics of a run as curves: read, reduced to few points, and packed for the page."""

from __future__ import annotations

import math
import sys
from array import array
from operator import sub
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.history.series import SCALAR, as_curve, downsampled, read_series
from amlexec.report.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.history.series import Series

__all__ = ["Curve", "RunCurves", "Statistics", "curves_of", "packed"]

_LITTLE = sys.byteorder == "little"
_MOST_MS = (1 << 31) - 1
_MOST_TABLES = 20


class Statistics(NamedTuple):
    """What the table shows of a series. Minimum and maximum are those of the finite values."""

    last: float
    lowest: float | None
    highest: float | None
    logged: int
    """The number of values."""


class Curve(NamedTuple):
    """A reduced series in the form of the page. `values` are 32-bit floats of `(value - base) / scale`."""

    name: str
    points: int
    base: float
    scale: float
    steps: tuple[float, float] | bytes
    """The first step and the distance of the steps, or every step as 64-bit floats."""
    began: float
    """Time of the first point, in seconds since 1970."""
    values: bytes
    times: bytes
    """Milliseconds from each point to the next, as 32-bit integers."""


class RunCurves(NamedTuple):
    """The curves of a run, and the statistics of each."""

    statistics: dict[str, Statistics]
    curves: list[Curve]
    others: dict[str, object]
    """The last value of each metric that is not a series of numbers."""
    counts: dict[str, int]
    """The number of values of those."""
    tables: list[dict[str, Any]]
    """Those that are tables, in the form of the page."""


def curves_of(path: Path, most: int) -> RunCurves:
    """The curves of a run from its `metrics.jsonl`, each with at most `most` points.

    Raises OSError if the file can't be read; a missing file has no metrics.
    """
    found = RunCurves({}, [], {}, {}, [])
    for name, logged in read_series(path).items():
        series = as_curve(logged)
        if series.kind == SCALAR:
            found.statistics[name] = _statistics(series)
            found.curves.append(_curve(downsampled(series, most)))
        else:
            found.others[name] = series.values[-1] if series.values else None
            found.counts[name] = series.logged
            if len(found.tables) < _MOST_TABLES and (table := table_of(series)) is not None:
                found.tables.append(table)
    return found


def _statistics(series: Series) -> Statistics:
    finite = _finite(series.values)
    if not finite:
        return Statistics(series.values[-1], None, None, series.logged)
    return Statistics(series.values[-1], min(finite), max(finite), series.logged)


def _finite(values: Sequence[float]) -> Sequence[float]:
    # One sum is faster than a test of each value; a sum that overflows only takes the slower way.
    return values if math.isfinite(sum(values)) else [value for value in values if math.isfinite(value)]


def _curve(series: Series) -> Curve:
    finite = _finite(series.values)
    base = min(finite, default=0.0)
    scale = max(finite, default=0.0) - base
    if scale == 0:
        scale = 1.0
    elif not math.isfinite(scale):
        base, scale = 0.0, max(map(abs, finite))
    return Curve(
        series.name,
        len(series.values),
        base,
        scale,
        _steps(series.steps),
        _began(series.times),
        _bytes(array("f", [(value - base) / scale for value in series.values])),
        _bytes(array("i", _distances(series.times))),
    )


def _began(times: Sequence[float]) -> float:
    return next((time for time in times if math.isfinite(time)), 0.0)


def _steps(steps: Sequence[float]) -> tuple[float, float] | bytes:
    first = steps[0]
    distance = steps[1] - first if len(steps) > 1 else 1
    if isinstance(first, int) and isinstance(distance, int) and distance:
        # The usual case, without a look at each step.
        is_even = list(steps) == list(range(first, first + distance * len(steps), distance))
    else:
        is_even = all(step == first + distance * at for at, step in enumerate(steps))
    return (first, distance) if is_even else _bytes(array("d", steps))


def _distances(times: Sequence[float]) -> list[int]:
    """Milliseconds from each point to the next; 0 if a time is unknown, and at most 24 days."""
    if not math.isfinite(sum(times)):
        known = _began(times)
        times = [known := time if math.isfinite(time) else known for time in times]
    whole = [int(1000 * time + 0.5) for time in times]
    found = [0, *map(sub, whole[1:], whole)]
    if min(found) < -_MOST_MS or max(found) > _MOST_MS:
        return [max(-_MOST_MS, min(_MOST_MS, each)) for each in found]
    return found


def _bytes(numbers: array[float] | array[int]) -> bytes:
    if not _LITTLE:
        numbers.byteswap()
    return numbers.tobytes()


def packed(runs: Sequence[tuple[str, Sequence[Curve]]]) -> bytes:
    """Curves of several runs as the page reads them.

    A JSON header, with its length before it as a 32-bit number, then three blocks of numbers: 64-bit steps,
    32-bit values, 32-bit distances in time. For each curve, in the order of the blocks, the header has
    `[metric, points, base, scale, began, first step, distance of steps]`. The last two are null if the
    steps are in the first block.
    """
    import json

    names: dict[str, int] = {}
    entries: dict[str, list[list[float | None]]] = {}
    blocks: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    for run_id, curves in runs:
        entries[run_id] = []
        for curve in curves:
            number = names.setdefault(curve.name, len(names))
            begin: list[float | None] = [None, None]
            if isinstance(curve.steps, bytes):
                blocks[0].append(curve.steps)
            else:
                begin = [*curve.steps]
            entries[run_id].append([number, curve.points, curve.base, curve.scale, curve.began, *begin])
            blocks[1].append(curve.values)
            blocks[2].append(curve.times)
    parts = [b"".join(block) for block in blocks]
    sizes = [len(part) for part in parts]
    header = json.dumps({"metrics": list(names), "runs": entries, "sizes": sizes}, separators=(",", ":"))
    encoded = header.encode("ascii")
    encoded += b" " * (-(4 + len(encoded)) % 8)
    return b"".join([len(encoded).to_bytes(4, "little"), encoded, *parts])
