"""The words of a query, and errors that point at one of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from amlexec.errors import UsageError
from amlexec.escaping import on_one_line

__all__ = ["QueryError", "Token", "tokens"]

LONGEST = 4000
"""Characters of a query."""
_SHOWN = 60
"""Characters of a query that an error shows."""
_OPERATORS = {"==": "=", "<>": "!=", "&&": "and", "||": "or"}
_PIECE = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<quoted>'(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*`)
    | (?P<sign><=|>=|!=|==|<>|&&|\|\||[=<>(),])
    | (?P<word>[^\s'"`=<>!&|(),]+)
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)([smhdw]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class QueryError(UsageError):
    """A query is wrong; a caret points at the place."""

    def __init__(self, text: str, column: int, message: str, advice: str = "") -> None:
        start = max(0, column - _SHOWN // 2) if len(text) > _SHOWN else 0
        before = ("…" if start else "") + on_one_line(text[start:column])
        shown = before + on_one_line(text[column : start + _SHOWN])
        if start + _SHOWN < len(text):
            shown += "…"
        pointer = " " * (len("  hint: ") + _width(before)) + "^"
        super().__init__(
            f"{message}, at column {column + 1}", hint=f"{shown}\n{pointer}{f' {advice}' if advice else ''}"
        )
        self.column = column


def _width(text: str) -> int:
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


class Token(NamedTuple):
    """A word of a query."""

    kind: str
    """`word`, `quoted`, `number`, `sign`, or `end`."""
    text: str
    """Of quoted ones, what is in the quotes."""
    column: int
    number: float = 0.0
    """Of a number: its value; of a time with a unit, such as `5m`, seconds."""
    unit: str = ""

    def shown(self) -> str:
        """As it is named in a message."""
        return "the end" if self.kind == "end" else repr(self.text)


def tokens(text: str) -> list[Token]:
    """The words of a query; the last one is the end. Raises QueryError."""
    if len(text) > LONGEST:
        raise UsageError(
            f"the query has {len(text)} characters", hint=f"the longest has {LONGEST}: use fewer conditions"
        )
    found: list[Token] = []
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            if text[at] in "'\"`":
                raise QueryError(text, at, f"the quote {text[at]} is not closed")
            raise QueryError(text, at, f"{text[at]!r} is not part of the language", _advice(text[at]))
        if piece.lastgroup != "space":
            found.append(_token(str(piece.lastgroup), piece[0], at))
        at = piece.end()
    return [*found, Token("end", "", len(text))]


def _token(kind: str, text: str, column: int) -> Token:
    if kind == "quoted":
        return Token(kind, text[1:-1].replace(text[0] * 2, text[0]), column)
    if kind == "word" and (number := _NUMBER.fullmatch(text)):
        return Token("number", text, column, float(number[1]) * _SECONDS[number[2]], number[2])
    text = _OPERATORS.get(text, text)
    return Token("word" if text in {"and", "or"} else kind, text, column)


def _advice(sign: str) -> str:
    return {"!": "write `not`", "&": "write `and`", "|": "write `or`"}.get(sign, "")
