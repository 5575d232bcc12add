"""Read the values of a parameter as they are written: `0.1,0.01`, `2..6`, `0..1:0.25`, `1e-4..1:log`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from amlexec.search.domains import MOST_VALUES, Choices, Range, Value, typed

if TYPE_CHECKING:
    from amlexec.search.domains import Domain

__all__ = ["BadValuesError", "literal", "values"]

_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(.*))?", re.DOTALL)
_QUOTES = "'\""
_OPENING, _CLOSING = "([{", ")]}"


class BadValuesError(ValueError):
    """The values of a parameter can't be read. Its text is a sentence; `hint` is what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def values(text: str) -> Domain | None:
    """The values that `text` lists, or None if it is a single value. No I/O.

    A comma separates values, except in quotes and brackets. Quotes around a value are removed, and make it a
    text. Blanks belong to the values.

    Raises:
        BadValuesError: it is a list or a range, but not a valid one.
    """
    found = _range(text)
    if found is not None:
        return found
    pieces = _pieces(text)
    if len(pieces) < 2:
        return None
    listed: list[Value] = []
    for piece in pieces:
        if not piece:
            raise BadValuesError(
                f"there is an empty value in {text!r}", "write '' for an empty text, or remove the comma"
            )
        span = _range(piece)
        if span is None:
            listed.append(_value(piece))
        elif span.size is None:
            raise BadValuesError(
                f"{piece} in a list has no steps", f"write {piece}:STEP, or the range without the list"
            )
        else:
            listed += [span.at(index) for index in range(span.size)]
    return Choices(tuple(listed))


def literal(text: str) -> str:
    """A single value without the quotes that keep it from being a list or a range."""
    if len(text) >= 2 and text[0] in _QUOTES and text[0] == text[-1]:
        inner = text[1:-1]
        needs_quotes = "," in inner or _RANGE.fullmatch(inner)
        if needs_quotes and text[0] not in inner:
            return inner
    return text


def _value(piece: str) -> Value:
    if len(piece) >= 2 and piece[0] in _QUOTES and piece[0] == piece[-1]:
        inner = piece[1:-1].replace(piece[0] * 2, piece[0])
        return Value(inner, inner)
    return typed(piece)


def _pieces(text: str) -> list[str]:
    """Split at commas outside of quotes and brackets. A quote counts at the beginning of a value only."""
    pieces, start, at, depth = [], 0, 0, 0
    while at < len(text):
        sign = text[at]
        if sign in _QUOTES and (at == start or depth):
            at = _closing(text, at)
        elif sign in _OPENING:
            depth += 1
        elif sign in _CLOSING and depth:
            depth -= 1
        elif sign == "," and not depth:
            pieces.append(text[start:at])
            start = at + 1
        at += 1
    return [*pieces, text[start:]]


def _closing(text: str, at: int) -> int:
    """Where the quote at `at` ends; `at` itself if it does not, so that it is a character like others."""
    quote = text[at]
    end = text.find(quote, at + 1)
    while 0 <= end < len(text) - 1 and text[end + 1] == quote:  # doubled: the quote itself
        end = text.find(quote, end + 2)
    return end if end >= 0 else at


def _range(text: str) -> Range | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first, last, how = match.groups()
    low, high = Decimal(first), Decimal(last)
    if low > high:
        raise BadValuesError(f"the range {text} ends before it begins", f"write {last}..{first}")
    is_whole = low == low.to_integral_value() and not re.search(r"[.eE]", first + last)
    if how is None:
        found = Range(low, high, step=Decimal(1) if is_whole else None, is_whole=is_whole)
    elif how == "log":
        if low <= 0:
            raise BadValuesError(f"the range {text} can't be logarithmic", "begin above 0")
        found = Range(low, high, is_log=True)
    elif how[:1] == "x":
        factor = _number(text, how[1:])
        if low <= 0 or factor <= 1:
            raise BadValuesError(
                f"the range {text} never ends", "begin above 0, and multiply by more than 1: 1..64:x2"
            )
        found = Range(low, high, factor=factor, is_whole=is_whole and factor == factor.to_integral_value())
    else:
        step = _number(text, how)
        if step <= 0:
            raise BadValuesError(f"the range {text} never ends", "the step must be above 0")
        found = Range(low, high, step=step, is_whole=is_whole and not re.search(r"[.eE]", how))
    if (found.size or 0) > MOST_VALUES:
        raise BadValuesError(f"the range {text} has more than {MOST_VALUES:,} values", "use a larger step")
    return found


def _number(text: str, number: str) -> Decimal:
    if re.fullmatch(_NUMBER, number):
        return Decimal(number)
    hint = "write LOW..HIGH, LOW..HIGH:STEP, LOW..HIGH:xFACTOR or LOW..HIGH:log"
    raise BadValuesError(f"{number!r} in {text!r} is not a step", hint)
