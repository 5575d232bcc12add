"""Fit a table into a narrow terminal: each row stays on one line.

A value that all rows share is printed once, below the table. The other columns are shown by rank as far as
they fit, and a note names the rest. If there is space, or the output is a pipe or a file, nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.commands import output

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Column", "fitted", "lines"]

_LEAST = 8
"""Width to which a text is cut in its middle before its column is left out."""
_MOST_NAMED = 20


class Column(NamedTuple):
    """A column of a list."""

    title: str
    values: Sequence[object]
    rank: int = 0
    """Columns with a low rank are kept longest. Rank 0 is always shown, uncut."""
    short: Sequence[object] | None = None
    """The values in a shorter form."""
    whole: bool = False
    """Whether the values are useless when cut."""
    least: int = _LEAST
    """Width to which a longer text is cut before the column is left out."""


def fitted(columns: Sequence[Column], width: int) -> str:
    """The table, no line of it wider than `width` unless the columns of rank 0 are; 0 for any width."""
    return "\n".join(lines(columns, width))


def lines(columns: Sequence[Column], width: int) -> Iterator[str]:
    """The lines of `fitted`, one by one: a table of 10,000 runs has megabytes."""
    needed = [_needed(column) for column in columns]
    if not width or _total(needed) <= width:
        yield from _table(columns, needed)
        return
    same = [column for column in columns if column.rank and _is_same(column.values)]
    left = [column for column in columns if column not in same]
    if _total([_needed(column) for column in left]) > width:
        left = _chosen([column._replace(values=column.short or column.values) for column in left], width)
    shown = {column.title for column in left}
    yield from _table(left, _widths(left, width))
    shared = [
        f"{column.title} {output.cell(column.values[0])}" for column in same if column.values[0] is not None
    ]
    yield from _note("the same in all:", shared, width)
    out = [column.title for column in columns if column.title not in shown and column not in same]
    yield from _note("left out for lack of room (-o json has all):", out, width)


def _table(columns: Sequence[Column], widths: Sequence[int]) -> Iterator[str]:
    return output.lines([column.values for column in columns], [column.title for column in columns], widths)


def _is_same(values: Sequence[object]) -> bool:
    """Whether all of several rows show the same."""
    return len(values) > 1 and all(output.cell(value) == output.cell(values[0]) for value in values)


def _note(about: str, things: Sequence[str], width: int) -> list[str]:
    """A note below the table, broken into lines if it is long."""
    if not things:
        return []
    words = [output.cell(thing) for thing in things[:_MOST_NAMED]]
    if more := len(things) - len(words):
        words.append(f"and {more} more")
    lines = [about]
    for at, word in enumerate(words):
        text = output.cut(word if at + 1 == len(words) else f"{word},", max(width - 2, _LEAST))
        if output.width(f"{lines[-1]} {text}") > width:
            lines.append(f"  {text}")
        else:
            lines[-1] += f" {text}"
    return lines


def _needed(column: Column) -> int:
    return max(output.width(output.cell(value)) for value in (column.title, *column.values))


def _least(column: Column) -> int:
    """The least width of a column: numbers and columns of rank 0 are never cut."""
    needed = _needed(column)
    if not column.rank:
        return needed
    if column.whole or output.is_numeric(column.values):
        needed = max(output.width(output.cell(value)) for value in column.values)
    else:
        needed = min(needed, column.least)
    return max(needed, min(output.width(column.title), _LEAST))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(output.GAP) * (len(widths) - 1)


def _chosen(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit, chosen by rank, in their original order."""
    taken: list[int] = []
    for at in sorted(range(len(columns)), key=lambda at: columns[at].rank):
        if not columns[at].rank or _total([_least(columns[index]) for index in (*taken, at)]) <= width:
            taken.append(at)
    return [columns[at] for at in sorted(taken)]


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """The width of each column: the needed one, as far as all fit."""
    widths, needed = [_least(column) for column in columns], [_needed(column) for column in columns]
    spare = width - _total(widths)
    while spare > 0 and (short := [at for at in range(len(widths)) if widths[at] < needed[at]]):
        for at in short[:spare]:
            widths[at] += 1
        spare -= len(short[:spare])
    return widths
