"""A machine that does not answer at once: whoever waits is told what for."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

from amlexec.console import say

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["connecting"]

_TERMINAL_INTERVAL_S, _LOG_INTERVAL_S = 1.0, 2.0
"""After how long somebody who watches wants to know, and after how long it is worth a line in a log."""


@contextlib.contextmanager
def connecting(name: str) -> Iterator[None]:
    """Say on stderr that we are connecting to the machine `name`, if the block takes longer than a moment."""
    after = _TERMINAL_INTERVAL_S if sys.stderr is not None and sys.stderr.isatty() else _LOG_INTERVAL_S
    timer = threading.Timer(after, say, [f"connecting to {name} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
