"""Choose the points that stand for a long series: always the same ones, and only points that were logged."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FEWEST", "chosen"]

FEWEST = 5
"""The first, the last, the smallest, the largest, and one that is not a number."""


def chosen(values: Sequence[float], points: int, ordinals: Sequence[int] | None = None) -> list[int]:
    """The positions of at most `points` values, ascending; all of them if there are not more.

    The series is cut into equal parts, of which each keeps its smallest and largest value, and its first NaN
    or infinity: a curve keeps its outline and its gaps. The first and the last value are kept.

    Args:
        values: the series.
        points: at least `FEWEST`.
        ordinals: ascending; the number of each value where `values` has been thinned already, so that parts
            are equal parts of the original series.

    Raises:
        ValueError: `points` is too small.
    """
    if points < FEWEST:
        raise ValueError(f"a series can't be shown with {points} points; {FEWEST} are the fewest")
    if len(values) <= points:
        return list(range(len(values)))
    positions = range(len(values)) if ordinals is None else ordinals
    # With gaps, a part has three points.
    parts = max((points - 2) // 2, 1)
    found = _of_parts(values, positions, parts)
    if len(found) > points:
        found = _of_parts(values, positions, max((points - 2) // 3, 1))
    return sorted(found)


def _of_parts(values: Sequence[float], ordinals: Sequence[int], parts: int) -> set[int]:
    found = {0, len(values) - 1}
    first, span = ordinals[0], ordinals[-1] + 1 - ordinals[0]
    start = 0
    for part in range(1, parts + 1):
        end = bisect_left(ordinals, first + span * part // parts, start)
        if end > start:
            found.update(_outline(values[start:end], start))
        start = end
    return found


def _outline(part: Sequence[float], start: int) -> list[int]:
    """The positions of the smallest and the largest number, and of the first other value."""
    total = sum(part)
    if total - total == 0:
        return [start + part.index(min(part)), start + part.index(max(part))]
    # NaN compares with nothing, so min() would depend on the order.
    numbers = [value for value in part if value - value == 0]
    others = [at for at, value in enumerate(part) if value - value != 0]
    found = [start + part.index(edge) for edge in ((min(numbers), max(numbers)) if numbers else ())]
    # The sum of large numbers may be infinite, too.
    return found + [start + at for at in others[:1]]
