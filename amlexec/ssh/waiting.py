"""A message for connections that take longer than a moment."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from amlexec import delayed
from amlexec.console import say

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connecting"]

_TERMINAL_INTERVAL_S, _LOG_INTERVAL_S = 1.0, 2.0
"""Seconds until the message is shown in a terminal, and until it is written to a log."""


@contextlib.contextmanager
def connecting(name: str) -> Iterator[None]:
    """Print to stderr that a connection to the machine `name` is being made, if the block takes long."""
    after = _TERMINAL_INTERVAL_S if sys.stderr is not None and sys.stderr.isatty() else _LOG_INTERVAL_S
    with delayed.after(after, lambda: say(f"connecting to {name} ...")):
        yield
