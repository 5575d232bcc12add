"""Names of models and aliases, and references to versions: `iris`, `iris:3`, `iris:champion`. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from amlexec.errors import UsageError

__all__ = ["LATEST", "Reference", "alias", "is_name", "model_name", "reference", "tag_file", "tag_name"]

LATEST = "latest"
"""The alias of the newest version; nothing else can have it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"v?([1-9][0-9]{0,8})")
_RESERVED = re.compile(r"v?[0-9]+|latest", re.IGNORECASE)
_LONGEST_TAG = 200
"""In bytes of UTF-8: percent-encoded, it is the name of a file."""
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Reference(NamedTuple):
    """What a user calls a version."""

    name: str
    version: int | None = None
    """None for the version of `alias`."""
    alias: str = LATEST

    def __str__(self) -> str:
        return f"{self.name}:{self.alias if self.version is None else self.version}"


def is_name(text: str) -> bool:
    """Whether this can be the name of a model or an alias. Only such texts become paths."""
    return _NAME.fullmatch(text) is not None


def model_name(text: str) -> str:
    """Check the name of a model. Raises UsageError."""
    if not is_name(text):
        raise UsageError(
            f"{text[:120]!r} is not a name for a model",
            hint="a name has 1 to 100 letters, digits, '_', '-' and '.', and begins with a letter or digit",
        )
    return text


def alias(text: str) -> str:
    """Check the name of an alias that a user sets. Raises UsageError."""
    if _RESERVED.fullmatch(text):
        what = "always the newest version" if text.lower() == LATEST else "a version's own number"
        raise UsageError(
            f"the alias {text!r} is reserved: it is {what}", hint="choose a word, such as champion"
        )
    if not is_name(text):
        raise UsageError(
            f"{text[:120]!r} is not a name for an alias",
            hint="a name has 1 to 100 letters, digits, '_', '-' and '.', and begins with a letter or digit",
        )
    return text


def reference(text: str) -> Reference:
    """Parse NAME, NAME:VERSION or NAME:ALIAS; MLflow's NAME@ALIAS too. Raises UsageError."""
    name, separator, rest = text.partition(":" if ":" in text else "@")
    model_name(name)
    if not separator:
        return Reference(name)
    if number := _NUMBER.fullmatch(rest):
        return Reference(name, int(number[1]), "")
    if not is_name(rest):
        raise UsageError(
            f"{text[:120]!r} names no version of a model", hint=f"{name}, {name}:3 or {name}:champion"
        )
    return Reference(name, None, rest)


def tag_file(name: str) -> str:
    """The name of the file of a tag: percent-encoded. Raises UsageError."""
    encoded = name.encode("utf-8", "surrogatepass")
    file = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in encoded)
    if not 0 < len(file) <= _LONGEST_TAG:
        raise UsageError(
            f"{name[:40]!r} is not a name for a tag",
            hint=f"a name has 1 to {_LONGEST_TAG} letters and digits, and no '='; others count three times",
        )
    return file


def tag_name(file: str) -> str:
    """The name of the tag of such a file. Raises ValueError."""
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(file).decode("utf-8")
