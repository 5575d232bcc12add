"""Read the points of a sweep from a file: CSV, JSON, JSON lines or YAML; one point for each row or object."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.errors import UsageError
from amlexec.files import read_regular
from amlexec.search.domains import Value, typed, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.search.space import Point

__all__ = ["read"]

_LARGEST = 64 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


def read(path: Path) -> tuple[Point, ...]:
    """The points that a file lists, in its order.

    Cells of CSV are typed as values of the command line are: `3`, `1e-3`, `true`. The other formats type
    their values themselves.

    Raises:
        UsageError: the file can't be read; the error has the line.
    """
    try:
        text = read_regular(path, _LARGEST).decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"the points can't be read: {reason[:1].lower()}{reason[1:]}", where=str(path)
        ) from None
    except UnicodeDecodeError:
        raise UsageError("the points can't be read: the file is not UTF-8", where=str(path)) from None
    readers = {".csv": _csv, ".json": _json, ".jsonl": _json_lines, ".yaml": _yaml, ".yml": _yaml}
    reader = readers.get(path.suffix.casefold())
    if reader is None:
        raise UsageError(
            "points are read from .csv, .json, .jsonl and .yaml files",
            where=str(path),
            hint="rename the file",
        )
    points = tuple(_checked(path, line, point) for line, point in reader(path, text))
    if not points:
        raise UsageError("the file lists no points", where=str(path))
    return points


def _checked(path: Path, line: int, point: dict[str, Value]) -> Point:
    for name in point:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} can't be the name of a parameter",
                where=f"{path}:{line}",
                hint="a name has letters, digits, '_', '-' and '.', and begins with a letter",
            )
    if not point:
        raise UsageError("a point without parameters", where=f"{path}:{line}")
    return tuple(point.items())


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Value]]]:
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        names = next(rows, [])
        if len(set(names)) != len(names):
            raise UsageError("two columns have the same name", where=f"{path}:1")
        begin = rows.line_num + 1
        for row in rows:
            if row and len(row) != len(names):
                raise UsageError(
                    f"the row has {len(row)} values, and there are {len(names)} columns",
                    where=f"{path}:{begin}",
                )
            if row:
                yield begin, {name: typed(cell) for name, cell in zip(names, row, strict=True)}
            begin = rows.line_num + 1
    except csv.Error as error:
        raise UsageError(f"this is not CSV: {error}", where=f"{path}:{rows.line_num}") from None


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Value]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _object(path, number, _loaded(path, number, line))


def _json(path: Path, text: str) -> Iterator[tuple[int, dict[str, Value]]]:
    return _items(path, _loaded(path, 1, text))


def _loaded(path: Path, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}:{line + error.lineno - 1}:{error.colno}"
        raise UsageError(f"this is not JSON: {error.msg}", where=place) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {error}", where=f"{path}:{line}") from None


def _yaml(path: Path, text: str) -> Iterator[tuple[int, dict[str, Value]]]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise UsageError(f"this is not YAML: {error.problem}", where=place) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageError(f"this is not YAML: {str(error).splitlines()[0]}", where=str(path)) from None
    return _items(path, data)


def _items(path: Path, data: Any) -> Iterator[tuple[int, dict[str, Value]]]:
    if not isinstance(data, list):
        raise UsageError(
            "this is not a list of points",
            where=str(path),
            hint="write a list of maps: - {lr: 0.1, depth: 2}",
        )
    for item in data:
        yield 1, _object(path, 1, item)


def _object(path: Path, line: int, item: Any) -> dict[str, Value]:
    if not isinstance(item, dict):
        raise UsageError(
            f"a point is {json.dumps(item, default=str)[:80]}, not a map of parameters",
            where=f"{path}:{line}",
        )
    try:
        return {str(name): value_of(value) for name, value in item.items()}
    except (TypeError, ValueError, RecursionError) as error:
        # A date of YAML, or something that refers to itself.
        raise UsageError(f"a value of the point can't be used: {error}", where=f"{path}:{line}") from None
