"""Checks for values from outside: type, length and form. Each value is checked once, where it is read.

A check takes a JSON value and returns it typed, or raises ValueError with the end of a sentence: "is null;
expected text".
"""

# ruff: noqa: TRY004 - callers expect one error

from __future__ import annotations

import re

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

__all__ = [
    "are_flat",
    "are_numbers",
    "is_deep",
    "kind_of",
    "list_of",
    "map_of",
    "matching",
    "moment",
    "number",
    "or_none",
    "parts",
    "plain_value",
    "text",
    "texts",
    "truth",
]

_DEEPEST = 64
"""Levels of nested maps and lists."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_LONGEST = 1 << 20
"""In characters, of a text."""


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {kind_of(value)}; expected text")
    if len(value) > _LONGEST:
        raise ValueError(f"has {len(value)} characters")
    return value


def matching(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if pattern.fullmatch(text(value)) is None:
            raise ValueError(f"is {str(value)[:80]!r}; expected {what}")
        return str(value)

    return check


def moment(value: object) -> str:
    if not isinstance(value, str) or _MOMENT.fullmatch(value) is None:
        raise ValueError(f"is {str(value)[:80]!r}; expected a time such as 2026-01-31T12:00:00.000000Z")
    from datetime import datetime

    datetime.fromisoformat(value[:-1])
    return value


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {kind_of(value)}; expected true or false")
    return value


def number(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"is {kind_of(value)}; expected a whole number from {least} to {most}")
        return value

    return check


def texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"is {kind_of(value)}; expected a list of texts")
    return tuple(map(text, value))


def list_of(check: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    def checked(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"is {kind_of(value)}; expected a list")
        return tuple(check(each) for each in value)

    return checked


def map_of(
    check: Callable[[object], Any], are_fine: Callable[[Collection[Any]], bool] = lambda _: False
) -> Callable[[object], dict[str, Any]]:
    """A check of a map; `are_fine` may say faster that no value has to be checked by itself."""

    def checked(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"is {kind_of(value)}; expected a map")
        # A list of 100,000 runs checks millions of names.
        if value and (set(map(type, value)) != {str} or max(map(len, value)) > _LONGEST):
            for name in value:
                text(name)
        if not value or are_fine(value.values()):
            return value
        return {name: check(each) for name, each in value.items()}

    return checked


def are_flat(values: Collection[Any]) -> bool:
    """Whether no value has others in it: then each is a `plain_value`."""
    return set(map(type, values)).isdisjoint((dict, list))


def are_numbers(least: int, most: int) -> Callable[[Collection[Any]], bool]:
    """Whether all are `number(least, most)`."""
    return lambda values: set(map(type, values)) == {int} and least <= min(values) and max(values) <= most


def is_deep(value: object) -> bool:
    """Whether a value is nested too deeply: recursive readers might fail on it."""
    layer: list[object] = [value]
    for _ in range(_DEEPEST):
        layer = [
            each
            for outer in layer
            if isinstance(outer, (dict, list))
            for each in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(each, (dict, list))
        ]
        if not layer:
            return False
    return True


def plain_value(value: object) -> object:
    if isinstance(value, (dict, list)) and is_deep(value):
        raise ValueError("is nested too deeply")
    return value


def parts(kind: Callable[..., Any], **checks: Callable[[object], Any]) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if not isinstance(value, dict) or not checks.keys() <= value.keys():
            raise ValueError(f"is {kind_of(value)}; expected a map with {', '.join(checks)}")
        try:
            return kind(**{name: each(value[name]) for name, each in checks.items()})
        except ValueError as error:
            raise ValueError(f"has a part that {error}") from None

    return check


def or_none(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else check(value)


def kind_of(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)[:40]
    names = {dict: "a map", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "something else")
