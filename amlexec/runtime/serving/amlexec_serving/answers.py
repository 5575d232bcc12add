"""What `run` returns as JSON: also arrays, data frames, times and decimals; never NaN."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from typing import Any

__all__ = ["UnsendableError", "encoded"]


class UnsendableError(Exception):
    """A value has no form in JSON; the text names its place."""


def encoded(value: Any, nan: str) -> tuple[bytes, int]:
    """A value as JSON, and how many NaN or infinite numbers became null.

    Raises:
        UnsendableError: it can't be; with `nan` "strict", also for NaN.
    """
    try:
        # By far the most answers.
        return _encode(value).encode(), 0
    except (TypeError, ValueError, _PlainError, RecursionError):
        counted = [0]
        found = _cleaned(value, "the answer", nan, counted, 0)
        return json.dumps(found, allow_nan=False).encode(), counted[0]


class _PlainError(Exception):
    pass


def _plain(value: Any) -> Any:
    """A value as one that JSON has. Raises _PlainError."""
    if hasattr(value, "model_dump"):  # pydantic
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a data frame
        return value.to_dict(orient="records")
    return _of_array(value)


_encode = json.JSONEncoder(allow_nan=False, default=_plain).encode


def _of_array(value: Any) -> Any:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in ("M", "m"):  # times
        return value.astype(str).tolist() if hasattr(value, "astype") else str(value)
    for name in ("tolist", "to_list"):
        if hasattr(value, name):  # numpy, pandas, torch
            return getattr(value, name)()
    raise _PlainError


def _cleaned(value: Any, place: str, nan: str, counted: list[int], depth: int) -> Any:
    if depth > 200:
        raise UnsendableError("{} is nested too deep".format(place[:80]))
    if value is None or (isinstance(value, (str, bool, int)) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if nan == "strict":
            raise UnsendableError("{} is {}, which JSON does not have".format(place, value))
        counted[0] += 1
        return None
    if isinstance(value, dict):
        return {
            _key(name, place): _cleaned(one, "{}.{}".format(place, name), nan, counted, depth + 1)
            for name, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            _cleaned(one, "{}[{}]".format(place, at), nan, counted, depth + 1) for at, one in enumerate(value)
        ]
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise UnsendableError("{} is bytes; decode it, or encode it with base64".format(place))
    try:
        plain = _plain(value)
    except _PlainError:
        name = "{}.{}".format(type(value).__module__, type(value).__qualname__)
        raise UnsendableError("{} is of type {}, which JSON does not have".format(place, name)) from None
    if type(plain) is type(value):
        raise UnsendableError("{} is of type {}".format(place, type(value).__qualname__))
    return _cleaned(plain, place, nan, counted, depth + 1)


def _key(name: Any, place: str) -> Any:
    if name is None or isinstance(name, (str, bool, int)):
        return name
    if isinstance(name, float) and math.isfinite(name):
        return name
    try:
        plain = _plain(name)
    except _PlainError:
        plain = None
    if isinstance(plain, (str, int, float)):
        return plain
    raise UnsendableError("{} has a key of type {}".format(place, type(name).__qualname__))
