"""Remember Ctrl-C: whatever error follows, the command was interrupted.

Python raises KeyboardInterrupt between any two steps of the main thread: also in a callback of a library,
which then raises an error of its own; during a clean-up, which then fails; and in a finalizer, where Python
prints it and goes on.
"""

from __future__ import annotations

import signal
import sys

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from typing import Any, NoReturn

__all__ = ["begin", "came", "is_raised_by", "remember"]

_AGAIN_S = 0.001
_came: list[bool] = []


def begin() -> None:
    """Remember interrupts from now on. Ignored ones stay ignored, as for background jobs of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _unraisable


def came() -> bool:
    """Whether an interrupt came."""
    return bool(_came)


def remember() -> None:
    """Remember an interrupt that another handler got."""
    _came.append(True)


def is_raised_by(handler: Any) -> bool:
    """Whether a handler of SIGINT raises KeyboardInterrupt at once."""
    return handler in (signal.default_int_handler, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    remember()
    raise KeyboardInterrupt


def _unraisable(lost: UnraisableHookArgs) -> None:
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    # Raised here, it would be lost again: raise it a moment later, in whatever the main thread does then.
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
