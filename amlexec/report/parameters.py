"""The parameters of a run: what its script got as `--lr 0.1`, `--lr=0.1`, `-n 3`, `lr=0.1` or `--shuffle`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parameters"]

_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)
_ASSIGNMENT = re.compile(r"\+{0,2}([A-Za-z][\w.-]*)=(.*)", re.DOTALL)
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def parameters(arguments: Sequence[str]) -> dict[str, float | str | bool]:
    """The named arguments. Numbers are numbers, an option without a value is True; the last one wins."""
    found: dict[str, float | str | bool] = {}
    waiting: str | None = None
    for argument in arguments:
        option = _OPTION.fullmatch(argument)
        if option is None and waiting is not None:
            found[waiting] = _typed(argument)
            waiting = None
            continue
        waiting = None
        assignment = option or _ASSIGNMENT.fullmatch(argument)
        if assignment is None:
            continue
        name, value = assignment[1], assignment[2]
        found[name] = True if value is None else _typed(value)
        waiting = name if value is None else None
    return found


def _typed(text: str) -> float | str:
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if abs(number) < float("inf") else text
    return text
