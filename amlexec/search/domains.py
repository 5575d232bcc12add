"""The values that a parameter may have: a list of them, or a range of numbers."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, NamedTuple

__all__ = ["MOST_VALUES", "Choices", "Domain", "Range", "Value", "from_json", "to_json", "typed", "value_of"]

MOST_VALUES = 1_000_000
"""Values of one parameter."""
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}


class Value(NamedTuple):
    """A value of a parameter."""

    text: str
    """As the script gets it."""
    value: Any
    """Typed: a number, true, false, None, or a text; from a JSON or YAML file also a list or a map."""


class Choices(NamedTuple):
    """Listed values, in their order."""

    values: tuple[Value, ...]

    @property
    def size(self) -> int:
        """The number of values."""
        return len(self.values)

    def at(self, index: int) -> Value:
        """The value at `index`; the first is 0."""
        return self.values[index]


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included as far as the steps reach them.

    At most one of `step` and `factor` is given. Without both, all numbers between are meant: those of
    `is_log` equally often in each power of ten, and in a grid the powers of ten alone.
    """

    low: Decimal
    high: Decimal
    step: Decimal | None = None
    factor: Decimal | None = None
    is_log: bool = False
    is_whole: bool = False
    """Whether the values are whole numbers, written without a point."""

    @property
    def size(self) -> int | None:
        """The number of values; None if all numbers between are meant."""
        if self.step is not None:
            return int((self.high - self.low) / self.step) + 1
        if self.factor is not None:
            return _steps(self.low, self.high, self.factor)
        return None

    def at(self, index: int) -> Value:
        """The value at `index`; the first is 0."""
        if self.step is not None:
            return self._value(self.low + index * self.step)
        assert self.factor is not None, "a range of all numbers has no order"
        return self._value(self.low * self.factor**index)

    def between(self, share: float) -> Value:
        """The value at `share` of the way from `low` to `high`; `share` is from 0 up to 1, exclusive."""
        low, high = float(self.low), float(self.high)
        if self.is_log:
            found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            found = low + share * (high - low)
        found = min(max(found, low), high)
        return Value(repr(found), found)

    def _value(self, number: Decimal) -> Value:
        if self.is_whole:
            return Value(str(int(number)), int(number))
        found = float(number)
        return Value(repr(found), found)


Domain = Choices | Range


def _steps(low: Decimal, high: Decimal, factor: Decimal) -> int:
    count = 0
    while low <= high and count <= MOST_VALUES:
        low *= factor
        count += 1
    return count


def typed(text: str) -> Value:
    """A value from its text: whole numbers, other numbers, true, false and null; else a text. No I/O.

    The script gets the text unchanged, such as `1e-3`.
    """
    if _WHOLE.fullmatch(text):
        return Value(text, int(text))
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return Value(text, float(text))
    return Value(text, _WORDS.get(text, text))


def value_of(value: Any) -> Value:
    """A value of a JSON or YAML file, with the text that the script gets. No I/O."""
    if isinstance(value, str):
        return Value(value, value)
    return Value(json.dumps(value, ensure_ascii=False), value)


def to_json(domain: Domain) -> dict[str, Any]:
    """A domain as JSON values."""
    if isinstance(domain, Choices):
        return {"choices": [[value.text, value.value] for value in domain.values]}
    numbers = {key: getattr(domain, key) for key in ("low", "high", "step", "factor")}
    given = {key: str(number) for key, number in numbers.items() if number is not None}
    return {**given, "is_log": domain.is_log, "is_whole": domain.is_whole}


def from_json(data: Any) -> Domain:
    """The domain of `to_json`.

    Raises:
        ValueError: `data` is not one.
    """
    try:
        if "choices" in data:
            return Choices(tuple(Value(str(text), value) for text, value in data["choices"]))
        numbers = {key: Decimal(data[key]) for key in ("low", "high", "step", "factor") if key in data}
        found = Range(**numbers, is_log=bool(data["is_log"]), is_whole=bool(data["is_whole"]))
    except (ArithmeticError, KeyError, TypeError, ValueError):
        raise ValueError("is not the values of a parameter") from None
    if not found.low.is_finite() or not found.low <= found.high:
        raise ValueError("is not a range")
    return found
