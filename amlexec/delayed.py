"""Do something if a block of code takes long."""

from __future__ import annotations

import contextlib
import threading

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["after"]


@contextlib.contextmanager
def after(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call a function once, in a thread, if the block takes longer than that."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
