"""How data looks on stdout: a table, JSON, and what `--query` picks out of it."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from amlexec.errors import UsageError
from amlexec.escaping import in_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.machines.check_results import Finding

__all__ = [
    "aligned",
    "as_json",
    "cell",
    "cut",
    "fields",
    "findings",
    "is_numeric",
    "query",
    "render",
    "table",
    "terminal_width",
    "title",
    "width",
]

GAP = "  "
NARROWEST = 5
"""Columns to which a text may be cut so that a table fits the terminal."""
LONGEST = 80
"""Characters of a list or an object in a cell."""


def render(value: object, form: str) -> str:
    """Any JSON value as `form`, which is `table` or `json`, without a newline at the end.

    As a table, a list has a row for each item and an object a row for each key.
    """
    if form == "json":
        return as_json(value)
    if isinstance(value, dict):
        return fields(value)
    if not isinstance(value, list):
        return cell(value)
    if value and all(isinstance(item, dict) for item in value):
        columns = list(dict.fromkeys(key for item in value for key in item))
        return table([[item.get(key) for key in columns] for item in value], [title(key) for key in columns])
    if value and all(isinstance(item, list) for item in value):
        most = max(len(item) for item in value)
        return table(
            [[*item, *[None] * (most - len(item))] for item in value],
            [f"Column{number + 1}" for number in range(most)],
        )
    return "\n".join(cell(item) for item in value)


def as_json(value: object) -> str:
    """Indented JSON."""
    text = in_json(json.dumps(value, indent=2, ensure_ascii=False))
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # an escape of Python's would be none in JSON
        return json.dumps(value, indent=2)
    return text


def table(rows: Sequence[Sequence[object]], columns: Sequence[str], *, fit: bool = True) -> str:
    """Aligned text: a title over each column, a line of dashes, and the rows.

    Columns of numbers are aligned on the right. With `fit`, on a terminal, the widest columns of text, but
    never the first, are cut so that a row is a line, as far as that goes.
    """
    titles = [cell(title) for title in columns]
    texts = [[cell(value) for value in row] for row in rows]
    numeric = [is_numeric([row[at] for row in rows]) for at in range(len(columns))]
    widths = [max([width(title), *(width(row[at]) for row in texts)]) for at, title in enumerate(titles)]
    if fit:
        _shrink(widths, [at for at, number in enumerate(numeric) if at and not number], terminal_width())
    return aligned(rows, columns, widths)


def aligned(rows: Sequence[Sequence[object]], columns: Sequence[str], widths: Sequence[int]) -> str:
    """The same, with the widths of its columns given: what is wider is cut in its middle."""
    texts = [[cell(value) for value in row] for row in rows]
    numeric = [is_numeric([row[at] for row in rows]) for at in range(len(columns))]
    lines = [[cell(title) for title in columns], ["-" * one for one in widths], *texts]
    return "\n".join(
        GAP.join(
            _padded(text, limit, right=right)
            for text, limit, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def is_numeric(values: Sequence[object]) -> bool:
    """Whether a column has numbers, and nothing else."""
    return any(map(_is_number, values)) and all(_is_number(one) or one is None for one in values)


def title(key: str) -> str:
    """A key as the title of a column, which has a capital, as in the Azure CLI."""
    return key[:1].upper() + key[1:]


def fields(values: Mapping[str, object]) -> str:
    """An object as a table with a row for each key; the keys of objects in it follow a dot."""
    rows: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            rows.extend((f"{key}.{inner}", each) for inner, each in value.items())
        else:
            rows.append((key, value))
    return table(rows, ("Key", "Value"), fit=False)


def cell(value: object) -> str:
    """A value as the text of one cell: on one line, and harmless to a terminal."""
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
    """What the JMESPath `expression` picks out of `value`.

    Raises:
        UsageError: it is no expression, or can't be applied to this value.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(expression, value)
    except JMESPathError as error:
        at = getattr(error, "lex_position", getattr(error, "lexer_position", None))
        place = "" if at is None else f"the mistake is at character {at + 1}; "
        raise UsageError(
            f"--query {expression!r}: {_words(error)}",
            hint=f"{place}the language is described on https://jmespath.org",
        ) from None


def _words(error: Exception) -> str:
    from jmespath.exceptions import JMESPathTypeError

    if isinstance(error, JMESPathTypeError):  # its own words hold the whole value
        takes = " or ".join(error.expected_types)
        return f"{error.function_name}() takes {takes}, and was given {error.actual_type}"
    # The rest is a drawing, with a caret under the expression.
    return str(error).partition("\n")[0].rstrip(" :.")


def terminal_width() -> int:
    """Columns to print for: COLUMNS, else those of the terminal that stdout is; 0 where it is none."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):  # a pipe or a file, or what has no descriptor at all
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
    """`text` in at most `limit` columns: what does not fit is taken from its middle."""
    if width(text) <= limit:
        return text
    before = after = ""
    while True:
        more = before + text[len(before)], after
        if width(before) > width(after):
            more = before, text[-1 - len(after)] + after
        if width("".join(more)) >= limit:  # one is the sign's
            return f"{before}…{after}" if limit else ""
        before, after = more


def width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def findings(found: Sequence[Finding]) -> list[str]:
    """What `computetarget check` found, as text: question, `ok` or not, answer; below it, the hint."""
    first = max(len(each.check) for each in found)
    second = max(len(each.status) for each in found)
    told = []
    for each in found:
        told.append(f"{each.check:<{first}}  {each.status:<{second}}  {cell(each.message)}".rstrip())
        if each.hint:
            told.append(f"{'':<{first + second + 4}}hint: {cell(each.hint)}")
    return told
