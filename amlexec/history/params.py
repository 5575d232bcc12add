"""The parameters of a run: its script's arguments, by name.

    train.py data.csv --lr 0.1 --depth=3 --fp16 -s 7 optimizer=adam

has the parameters lr, depth, fp16, s and optimizer. An option without a value is `true`. Of an option that is
given several times, the last value counts. Arguments that have no name are not parameters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["number_of", "parameters", "typed"]

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 400
_NAME = re.compile(r"[^\W\d][\w./-]*")
_LONGEST_NAME = 250


def parameters(arguments: Sequence[str]) -> dict[str, str]:
    """The parameters in a script's arguments: text by name, as it was typed. See the module for the rules."""
    found: dict[str, str] = {}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        if word == "--":
            break
        if not word.startswith("-") or _is_number(word):
            name, sign, value = word.partition("=")  # as in Hydra
            if sign and _NAME.fullmatch(name):
                found[name] = value
            continue
        name, sign, value = word.lstrip("-").partition("=")
        if not sign:
            following = arguments[at] if at < len(arguments) else "--"
            if following.startswith("-") and not _is_number(following):
                value = "true"
            else:
                value = following
                at += 1
        if 0 < len(name) <= _LONGEST_NAME:
            found.pop(name, None)
            found[name] = value
    return found


def typed(text: str) -> object:
    """A parameter as a number, as true or false, or else as the text itself."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if not _is_number(text):
        return text
    try:
        return int(text)
    except ValueError:
        return float(text)


def number_of(text: str) -> float | None:
    """The number that a text is; None if it is none."""
    return float(text) if _is_number(text) else None


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) is not None
