"""Values as types of JSON: what scripts log, of any library, without importing that library."""

import json
import math
from collections.abc import Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet

__all__ = ["encoded", "number", "text"]


_MISSING = ("NAType", "NaTType")
"""The types of what pandas has in place of a value."""


def encoded(value: object) -> "tuple[object, str]":
    """The plain value and its JSON, in ASCII. Never raises."""
    kind = type(value)
    if kind is float and value - value == 0:  # type: ignore[operator]
        return value, repr(value)
    try:
        plain = _plain(value)
        return plain, json.dumps(plain, allow_nan=False, separators=(",", ":"))
    except Exception:  # user objects may raise anything at all, cycles and depth included
        plain = text(value)
        return plain, json.dumps(plain)


def number(value: object) -> "object | None":
    """The finite number that a value stands for, an int where it is whole; None if it is not a number."""
    try:
        plain = _plain(value)
    except Exception:
        return None
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        return None
    return int(plain) if plain == int(plain) else plain


def _plain(value: object) -> object:
    """`value` as types of JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes, bytearray)):
        return text(value)
    if isinstance(value, int):
        whole = int(value)
        return whole if whole.bit_length() < 64 else text(whole)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Mapping):
        return {text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item) for item in value), key=str)
    for method in ("tolist", "item", "numpy"):
        convert = getattr(value, method, None)
        if callable(convert):
            plain = convert()
            if type(plain) is not type(value):  # numpy.longdouble.item returns itself
                return _plain(plain)
    if isinstance(value, (Sequence, ValuesView)):
        return [_plain(item) for item in value]
    if hasattr(type(value), "__float__"):
        return _number(float(value))  # type: ignore[arg-type]
    return None if type(value).__name__ in _MISSING else text(value)


def _number(value: float) -> object:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def text(value: object) -> str:
    """`value` as text that can be written as UTF-8. Never raises."""
    try:
        if isinstance(value, (bytes, bytearray)):
            return bytes(value).decode("utf-8", "backslashreplace")
        found = str.__str__(value) if isinstance(value, str) else str(value)
        return found.encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # user objects may raise anything at all
        return "<{}>".format(type(value).__name__)
