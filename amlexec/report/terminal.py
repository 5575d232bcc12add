"""Curves in a terminal: braille dots, two by four in a character, or ASCII where the stream has no braille.

Only characters are made here: nothing is printed, and no terminal is asked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Line", "mark", "plot", "short"]

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot, by column and row."""
_MARKS = "*o+x#@%&"
"""In ASCII: one for each curve."""
_NARROWEST = 20


class Line(NamedTuple):
    """A curve: its points, and the number that is its colour or mark."""

    steps: Sequence[float]
    values: Sequence[float]
    number: int = 0


class _Range(NamedTuple):
    low: float
    high: float

    def part(self, value: float) -> float:
        return 0.5 if self.high == self.low else (value - self.low) / (self.high - self.low)


def plot(
    lines: Sequence[Line], width: int, height: int, *, ascii_only: bool, colours: Sequence[str] = ()
) -> list[str]:
    """The rows of a chart: the curves, and the axes with their ends.

    Args:
        lines: the curves. NaN and infinities are gaps.
        width: columns of the whole chart.
        height: rows of the curves; the horizontal axis needs one more.
        ascii_only: whether the characters have to be ASCII.
        colours: escape sequences, for the curves in turn; none for a chart without colours.

    Returns:
        The rows; one that says so if there is no finite value.
    """
    points = [
        [(step, value) for step, value in zip(line.steps, line.values, strict=True) if math.isfinite(value)]
        for line in lines
    ]
    finite = [point for each in points for point in each]
    if not finite:
        return ["no finite values"]
    across = _Range(min(step for step, _ in finite), max(step for step, _ in finite))
    up = _Range(min(value for _, value in finite), max(value for _, value in finite))
    top, bottom = short(up.high), short(up.low)
    margin = max(len(top), len(bottom))
    canvas = _Canvas(max(_NARROWEST, width - margin - 2), height, ascii_only=ascii_only)
    for line in lines:
        _draw(canvas, line, across, up)
    bar = "|" if ascii_only else "│"
    rows = [
        f"{top if at == 0 else bottom if at == height - 1 else '':>{margin}} {bar}{row}"
        for at, row in enumerate(canvas.rows(colours))
    ]
    left, right = short(across.low), short(across.high)
    gap = " " * max(1, canvas.width - len(left) - len(right))
    return [*rows, f"{'':>{margin}}  {left}{gap if left != right else ''}{right if left != right else ''}"]


def mark(number: int) -> str:
    """What draws the curve with this number in ASCII."""
    return _MARKS[number % len(_MARKS)]


def short(number: float) -> str:
    """A number for an axis or a table, of at most about six digits."""
    if math.isfinite(number) and number == int(number) and abs(number) < 1e7:
        return str(int(number))
    return f"{number:.4g}"


def _draw(canvas: _Canvas, line: Line, across: _Range, up: _Range) -> None:
    before: tuple[int, int] | None = None
    # In the order of steps: processes may have logged at the same time.
    for step, value in sorted(zip(line.steps, line.values, strict=True), key=lambda point: point[0]):
        if not math.isfinite(value):
            before = None
            continue
        here = canvas.place(across.part(step), up.part(value))
        canvas.line(before or here, here, line.number)
        before = here


class _Canvas:
    """Dots, and who drew each character last."""

    def __init__(self, width: int, height: int, *, ascii_only: bool) -> None:
        self.width, self.height = width, height
        self._across, self._up = (1, 1) if ascii_only else (2, 4)
        self._ascii_only = ascii_only
        self._dots = [[0] * width for _ in range(height)]
        self._owner = [[-1] * width for _ in range(height)]

    def place(self, right: float, up: float) -> tuple[int, int]:
        """The dot at these parts of the width and the height."""
        columns, rows = self.width * self._across, self.height * self._up
        return round(right * (columns - 1)), round((1 - up) * (rows - 1))

    def line(self, begin: tuple[int, int], end: tuple[int, int], number: int) -> None:
        """Dots on the straight way between two."""
        steps = max(abs(end[0] - begin[0]), abs(end[1] - begin[1]), 1)
        for at in range(steps + 1):
            x = round(begin[0] + (end[0] - begin[0]) * at / steps)
            y = round(begin[1] + (end[1] - begin[1]) * at / steps)
            column, row = x // self._across, y // self._up
            self._dots[row][column] |= _DOTS[x % self._across][y % self._up]
            self._owner[row][column] = number

    def rows(self, colours: Sequence[str]) -> list[str]:
        """The characters, with colours if there are any."""
        found = []
        for dots, owners in zip(self._dots, self._owner, strict=True):
            text = ""
            last = -1
            for bits, owner in zip(dots, owners, strict=True):
                if colours and owner != last:
                    text += "\x1b[0m" if owner < 0 else colours[owner % len(colours)]
                    last = owner
                text += self._sign(bits, owner)
            found.append(text.rstrip() + ("\x1b[0m" if colours and last >= 0 else ""))
        return found

    def _sign(self, bits: int, owner: int) -> str:
        if not bits:
            return " "
        return mark(owner) if self._ascii_only else chr(_BRAILLE + bits)
