"""Read the lines of a `metrics.jsonl`, as a run writes them: in parallel, torn, or by strangers.

docs/reference/metrics.md describes the format. The file may have any length: a part of it is in memory.
"""

from __future__ import annotations

import json
import math

from amlexec.files import open_regular
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO, Any

__all__ = ["LONGEST_LINE", "NOT_FINITE", "SCALAR", "START", "Item", "Numbers", "blocks", "items", "plain"]

LONGEST_LINE = 8 * 1024 * 1024
"""In bytes. A longer line is not a metric."""
START = b'{"name":'
"""The beginning of every line."""
SCALAR = "scalar"
"""The kind of a number; a line need not name it."""
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Numbers that JSON lacks: the text in a line, and what it stands for."""
_MOST_STARTS = 100
"""Places in a torn line where the next metric may begin: a value may contain a similar text."""
_BLOCK = 1 << 18
"""Bytes. Their lines are parsed together, in a fraction of the time of one by one."""
_NOT_A_METRIC = b"?"
"""In place of a line that is too long."""
_LARGEST = 1e308
_LARGEST_STEP = 1 << 53
_LONGEST_KIND = 64
"""In characters."""
_DEEPEST = 100
"""Levels of nested lists and maps; a record refuses fewer."""


class Item(NamedTuple):
    """A logged value."""

    name: str
    value: object
    """Plain JSON: NaN and infinities are the texts of `NOT_FINITE`."""
    time: float
    """Seconds since 1970; NaN if unknown."""
    step: float | None
    kind: str
    """"" in a line without a kind: a number, a text, a list or a map."""
    size: int
    """Of the line, in bytes."""


class Numbers(NamedTuple):
    """Successive numbers, a list for each field: most of a long file."""

    names: list[str]
    values: list[float]
    times: list[float]
    steps: list[float | None]

    def items(self) -> Iterator[Item]:
        """The same lines one by one."""
        for name, value, time, step in zip(*self, strict=True):
            yield Item(name, value, time, step, "", 0)


def items(path: Path) -> Iterator[Item | None]:
    """The items of `blocks` one by one."""
    for block in blocks(path):
        yield from block.items() if isinstance(block, Numbers) else block


def blocks(path: Path) -> Iterator[Numbers | list[Item | None]]:
    """The item of every line, some thousand at a time; None for a line that is not a metric.

    A missing file has none. An incomplete last line is not counted: the run may be writing it. Raises OSError
    if the file can't be read.
    """
    try:
        file = open_regular(path, follow=False)
    except FileNotFoundError:
        return
    clock = _Clock()
    with file:
        for lines, is_whole in _batches(file):
            found = _parsed(lines) if is_whole else [*_of_line(lines[0], is_whole=False)]
            yield clock.numbers(found) if isinstance(found, Numbers) else [*map(clock.item, found)]


class _Clock:
    """Completes lines without a time: a writer leaves out a time that is nearly that of the line before."""

    def __init__(self) -> None:
        self._last = math.nan

    def item(self, item: Item | None) -> Item | None:
        if item is None:
            return None
        if item.time != item.time:
            return item._replace(time=self._last)
        self._last = item.time
        return item

    def numbers(self, block: Numbers) -> Numbers:
        if not math.isnan(sum(block.times)):
            self._last = block.times[-1]
            return block
        times = []
        last = self._last
        for time in block.times:
            if time == time:
                last = time
            times.append(last)
        self._last = last
        return block._replace(times=times)


def _batches(file: IO[bytes]) -> Iterator[tuple[list[bytes], bool]]:
    """Lines without their ends; at the end of a file, a line that may be incomplete (False)."""
    rest = b""
    is_too_long = False
    while block := file.read(_BLOCK):
        end = block.rfind(b"\n")
        if end < 0:
            rest = b"" if is_too_long else rest + block
            is_too_long = is_too_long or len(rest) > LONGEST_LINE
            continue
        lines = (rest + block[:end]).split(b"\n")
        if is_too_long:
            lines[0] = _NOT_A_METRIC
        is_too_long = False
        rest = block[end + 1 :]
        yield lines, True
    if is_too_long:
        yield [_NOT_A_METRIC], True
    elif rest:
        yield [rest], False


_DECODER = json.JSONDecoder(parse_constant=str)
"""Reads NaN and infinities of other writers as `log` writes them."""


def _parsed(lines: list[bytes]) -> Numbers | list[Item | None]:
    """The items of complete lines."""
    try:
        text = f"[{b','.join(lines).decode()}]"
        records = _DECODER.decode(text)
    except (ValueError, RecursionError):
        records = []
    if len(records) != len(lines):
        return [item for line in lines for item in _of_line(line, is_whole=True)]
    return (None if '"kind"' in text else _numbers(records)) or [*map(_item, records, map(len, lines))]


def _numbers(records: list[Any]) -> Numbers | None:
    """The records as `Numbers`; None if there is anything else among them."""
    try:
        names = [record["name"] for record in records]
        values = [record["value"] for record in records]
        times = [record.get("time", math.nan) for record in records]
        steps = [record.get("step") for record in records]
    except (KeyError, TypeError, AttributeError):
        return None
    is_plain = (
        _types(names) == {str}
        and _types(values) <= {int, float}
        and min(values) > -_LARGEST
        and max(values) < _LARGEST
        and _types(times) <= {int, float}
        and math.inf not in times
        and -math.inf not in times
        and (_types(steps) == {type(None)} or (_types(steps) == {int} and _are_exact(steps)))
    )
    return Numbers(names, values, times, steps) if is_plain else None


def _types(values: list[object]) -> set[type]:
    return set(map(type, values))


def _are_exact(steps: list[int]) -> bool:
    return min(steps) > -_LARGEST_STEP and max(steps) < _LARGEST_STEP


def _of_line(line: bytes, *, is_whole: bool) -> Iterator[Item | None]:
    item = _decoded(line)
    if item is not None:
        yield item
        return
    # An incomplete write has no newline: the next metric follows on the same line.
    following = _following(line)
    if line.strip() and (is_whole or following is not None):
        yield None
    if following is not None:
        yield following


def _following(line: bytes) -> Item | None:
    """The metric that follows an incomplete one on the same line."""
    start = line.find(START, 1)
    for _ in range(_MOST_STARTS):
        if start < 0:
            break
        item = _decoded(line[start:])
        if item is not None:
            return item
        start = line.find(START, start + 1)
    return None


def _decoded(line: bytes) -> Item | None:
    try:
        record = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return _item(record, len(line))


def _item(record: Any, size: int) -> Item | None:
    if type(record) is not dict or "value" not in record or type(record.get("name")) is not str:
        return None
    kind = record.get("kind")
    return Item(
        record["name"],
        plain(record["value"]),
        _finite(record.get("time")),
        _step(record.get("step")),
        kind if type(kind) is str and len(kind) <= _LONGEST_KIND else "",
        size,
    )


def _finite(value: object) -> float:
    """The number; NaN if it is none."""
    if type(value) is not float and type(value) is not int:
        return math.nan
    try:
        found = float(value)
    except OverflowError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def _step(value: object) -> float | None:
    found = _finite(value)
    if math.isnan(found):
        return None
    return int(found) if found.is_integer() and abs(found) < _LARGEST_STEP else found


def plain(value: object) -> object:
    """The value, with the texts of `NOT_FINITE` for NaN and infinities, such as 1e999 in JSON."""
    if type(value) is float:
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if type(value) is not list and type(value) is not dict:
        return value
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return _replaced(value, 0)
    return value


def _replaced(value: object, depth: int) -> object:
    if depth > _DEEPEST:
        return value
    if isinstance(value, list):
        return [_replaced(inner, depth + 1) for inner in value]
    if isinstance(value, dict):
        return {key: _replaced(inner, depth + 1) for key, inner in value.items()}
    return plain(value)
