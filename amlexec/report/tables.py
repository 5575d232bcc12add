"""Logged tables, rows and confusion matrices as lines of cells, cut to a size for the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.history.series import Series

__all__ = ["table_of"]

_MOST_ROWS, _MOST_COLUMNS, _LONGEST_CELL = 50, 30, 200


def table_of(series: Series) -> dict[str, Any] | None:
    """The last table or matrix of a series, or all its rows; None if it has another kind of values."""
    if not series.values:
        return None
    last = series.values[-1]
    if series.kind == "row":
        rows = [value for value in series.values if isinstance(value, dict)]
        head = list(dict.fromkeys(name for row in rows for name in row))
        return _cut(series.name, [head, *([row.get(name) for name in head] for row in rows)])
    if series.kind == "table" and isinstance(last, dict):
        columns = [value if isinstance(value, list) else [value] for value in last.values()]
        size = max(map(len, columns), default=0)
        body = ([column[at] if at < len(column) else None for column in columns] for at in range(size))
        return _cut(series.name, [list(last), *body])
    if series.kind == "confusion_matrix" and isinstance(last, dict) and isinstance(last.get("data"), dict):
        return _matrix(series.name, last["data"])
    return None


def _matrix(name: str, data: dict[str, Any]) -> dict[str, Any] | None:
    labels, matrix = data.get("class_labels"), data.get("matrix")
    if not isinstance(labels, list) or not isinstance(matrix, list):
        return None
    rows = [row for row in matrix if isinstance(row, list)]
    body = ([label, *row] for label, row in zip(labels, rows, strict=False))
    return _cut(name, [["true, predicted", *labels], *body])


def _cut(name: str, lines: Sequence[Iterable[Any]]) -> dict[str, Any]:
    shown = [[_cell(value) for value in list(line)[:_MOST_COLUMNS]] for line in lines[: _MOST_ROWS + 1]]
    return {"path": name, "table": shown, "rows": len(lines) - 1}


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:_LONGEST_CELL]
