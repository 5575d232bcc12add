"""A list on a terminal that is too narrow for it: a row is a line all the same.

What all rows share stands once, below the table. Of the rest, what matters most comes first, and what finds
no place is named. Where there is room, or nobody looks (a pipe, a file), the table is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.commands import output

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Column", "fitted"]

_LEAST = 8
"""Columns to which a text is cut in its middle before it gives way."""
_MOST_NAMED = 20


class Column(NamedTuple):
    """A column of a list."""

    title: str
    values: Sequence[object]
    rank: int = 0
    """The lower, the longer it stays. 0 is shown whatever the width, and whole."""
    short: Sequence[object] | None = None
    """The values as they can be said in less."""
    whole: bool = False
    """Whether a value of which a part is missing says nothing."""


def fitted(columns: Sequence[Column], width: int) -> str:
    """The table, no line of it wider than `width` unless the columns of rank 0 are; 0 for any width."""
    if not width or _total([_needed(one) for one in columns]) <= width:
        return output.table(
            [*zip(*(one.values for one in columns), strict=True)], [one.title for one in columns]
        )
    rows = len(columns[0].values)
    same = [
        one
        for one in columns
        if one.rank and rows > 1 and len({output.cell(each) for each in one.values}) == 1
    ]
    left = [one for one in columns if one not in same]
    if _total([_needed(one) for one in left]) > width:
        left = _chosen([one._replace(values=one.short or one.values) for one in left], width)
    shown = {one.title for one in left}
    widths = _widths(left, width)
    text = output.aligned(
        [*zip(*(one.values for one in left), strict=True)], [one.title for one in left], widths
    )
    told = [f"{one.title} {output.cell(one.values[0])}" for one in same if one.values[0] is not None]
    out = [one.title for one in columns if one.title not in shown and one not in same]
    return "\n".join(
        [
            text,
            *_note("the same in all:", told, width),
            *_note("left out for want of room (-o json has all):", out, width),
        ]
    )


def _note(about: str, things: Sequence[str], width: int) -> list[str]:
    """A note below the table; lines of its own where it is long."""
    if not things:
        return []
    words = [output.cell(one) for one in things[:_MOST_NAMED]]
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
    return max(output.width(output.cell(one)) for one in (column.title, *column.values))


def _least(column: Column) -> int:
    """To how much a column can be cut: numbers, and what has rank 0, to nothing less than themselves."""
    needed = _needed(column)
    if not column.rank:
        return needed
    if column.whole or output.is_numeric(column.values):
        needed = max(output.width(output.cell(one)) for one in column.values)
    else:
        needed = min(needed, _LEAST)
    return max(needed, min(output.width(column.title), _LEAST))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(output.GAP) * (len(widths) - 1)


def _chosen(columns: Sequence[Column], width: int) -> list[Column]:
    """Those that find a place, in their order, taken by their rank."""
    taken: list[int] = []
    for at in sorted(range(len(columns)), key=lambda at: columns[at].rank):
        if not columns[at].rank or _total([_least(columns[one]) for one in (*taken, at)]) <= width:
            taken.append(at)
    return [columns[at] for at in sorted(taken)]


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """The room of each: what it needs, as far as there is room for all."""
    widths, needed = [_least(one) for one in columns], [_needed(one) for one in columns]
    spare = width - _total(widths)
    while spare > 0 and (short := [at for at in range(len(widths)) if widths[at] < needed[at]]):
        for at in short[:spare]:
            widths[at] += 1
        spare -= len(short[:spare])
    return widths
