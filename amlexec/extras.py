"""Modules of the extras, which are installed only by those who want them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from amlexec.errors import UsageError

__all__ = ["module"]


def module(name: str, extra: str, wanted: str) -> Any:
    """A module of an extra; `wanted` says what needs which package.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"{wanted}, and {error.name or name} is missing", hint=f"pip install 'amlexec[{extra}]'"
        ) from None
