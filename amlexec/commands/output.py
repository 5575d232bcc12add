"""Output formats: tables, JSON, and `--query`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from amlexec.escaping import in_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amlexec.machines.check_results import Finding

__all__ = [
    "aligned",
    "as_json",
    "cell",
    "cut",
    "fields",
    "findings",
    "is_numeric",
    "lines",
    "query",
    "size",
    "render",
    "table",
    "terminal_width",
    "title",
    "width",
]

GAP = "  "
NARROWEST = 5
"""Least width to which a text is cut so that a table fits the terminal."""
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
"""Numbers as records have them."""
LONGEST = 80
"""Characters of a list or an object in a cell."""


def render(value: object, form: str, *, titled: bool = False) -> str:
    """Any JSON value as `form`, which is `table` or `json`, without a newline at the end.

    As a table, a list has a row for each item and an object a row for each key. With `titled`, the columns
    have titles; without, the keys as they are: they may be names that a user chose.
    """
    if form == "json":
        return as_json(value)
    if isinstance(value, dict):
        return fields(value)
    if not isinstance(value, list):
        return cell(value)
    if value and all(isinstance(item, dict) for item in value):
        columns = list(dict.fromkeys(key for item in value for key in item))
        titles = [title(key) for key in columns] if titled else columns
        return table([[item.get(key) for key in columns] for item in value], titles)
    if value and all(isinstance(item, list) for item in value):
        most = max(len(item) for item in value)
        return table(
            [[*item, *[None] * (most - len(item))] for item in value],
            [f"Column{number + 1}" for number in range(most)],
        )
    return "\n".join(cell(item) for item in value)


def as_json(value: object) -> str:
    """Indented JSON that every reader takes: what JSON lacks are the texts "NaN", "Infinity", "-Infinity"."""
    try:
        text = in_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
    except ValueError:
        from amlexec.history.metric_lines import plain

        value = plain(json.loads(json.dumps(value)))
        text = in_json(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # Python's own escapes are not valid JSON
        return json.dumps(value, indent=2, allow_nan=False)
    return text


def table(rows: Sequence[Sequence[object]], columns: Sequence[str], *, fit: bool = True) -> str:
    """Aligned text: a title over each column, a line of dashes, and the rows.

    Columns of numbers are aligned on the right. With `fit`, on a terminal, the widest text columns except
    the first are cut so that a row fits on a line, if possible.
    """
    titles = [cell(title) for title in columns]
    texts = [[cell(value) for value in row] for row in rows]
    numeric = [is_numeric([row[at] for row in rows]) for at in range(len(columns))]
    widths = [max([width(title), *(width(row[at]) for row in texts)]) for at, title in enumerate(titles)]
    if fit:
        _shrink(widths, [at for at, number in enumerate(numeric) if at and not number], terminal_width())
    return aligned(rows, columns, widths)


def aligned(rows: Sequence[Sequence[object]], columns: Sequence[str], widths: Sequence[int]) -> str:
    """A table with these column widths; longer texts are cut in their middle."""
    values = [[row[at] for row in rows] for at in range(len(columns))]
    return "\n".join(lines(values, columns, widths))


def lines(columns: Sequence[Sequence[object]], titles: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of `aligned`, from the values of each column; one by one, because there may be many."""
    numeric = [is_numeric(values) for values in columns]
    for row in (titles, ["-" * width for width in widths]):
        yield _line(row, widths, numeric)
    for values in zip(*columns, strict=True):
        yield _line(values, widths, numeric)


def _line(values: Sequence[object], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    return GAP.join(
        _padded(cell(value), limit, right=right)
        for value, limit, right in zip(values, widths, numeric, strict=True)
    ).rstrip()


def is_numeric(values: Sequence[object]) -> bool:
    """Whether a column contains only numbers, at least one finite, and None."""
    return any(map(_is_number, values)) and all(
        _is_number(value) or value is None or value in _NOT_FINITE for value in values
    )


def title(key: str) -> str:
    """A key as the title of a column: capitalized, as in the Azure CLI."""
    return key[:1].upper() + key[1:]


def fields(values: Mapping[str, object]) -> str:
    """An object as a table with a row for each key; keys of nested objects are `key.inner`."""
    rows: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            rows.extend((f"{key}.{inner}", each) for inner, each in value.items())
        else:
            rows.append((key, value))
    return table(rows, ("Key", "Value"), fit=False)


def cell(value: object) -> str:
    """A value as the text of one cell: on one line, without control characters."""
    if value is None:
        return ""
    if isinstance(value, float):
        exact = repr(value)
        return exact if len(exact) <= 10 else f"{value:.6g}"
    if isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
        if len(text) > LONGEST:
            text = f"{text[: LONGEST - 1]}…"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def query(expression: str, value: object) -> object:
    """The result of the JMESPath `expression` for `value`.

    Raises:
        UsageError: the expression is invalid, or can't be applied to this value.
    """
    from amlexec.commands import jmespath_query

    return jmespath_query.search(expression, value)


def terminal_width() -> int:
    """Columns to print for: COLUMNS, else those of stdout's terminal; 0 if it is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):  # a pipe, a file, or a stream without a descriptor
        return 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shrink(widths: list[int], texts: list[int], limit: int) -> None:
    while limit and texts and sum(widths) + len(GAP) * (len(widths) - 1) > limit:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _padded(text: str, limit: int, *, right: bool) -> str:
    text = cut(text, limit)
    blanks = " " * (limit - width(text))
    return blanks + text if right else text + blanks


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` columns, cut in its middle."""
    if width(text) <= limit:
        return text
    before = after = ""
    while True:
        more = before + text[len(before)], after
        if width(before) > width(after):
            more = before, text[-1 - len(after)] + after
        if width("".join(more)) >= limit:  # one column is for the "…"
            return f"{before}…{after}" if limit else ""
        before, after = more


def width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def size(count: int) -> str:
    """A number of bytes for people: `4.2 MB`."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"


def findings(found: Sequence[Finding]) -> list[str]:
    """The findings of `computetarget check` as lines: check, status, message; below it, the hint."""
    first = max(len(finding.check) for finding in found)
    second = max(len(finding.status) for finding in found)
    lines = []
    for finding in found:
        columns = (f"{finding.check:<{first}}", f"{finding.status:<{second}}", cell(finding.message))
        lines.append("  ".join(columns).rstrip())
        if finding.hint:
            lines.append(f"{'':<{first + second + 4}}hint: {cell(finding.hint)}")
    return lines
