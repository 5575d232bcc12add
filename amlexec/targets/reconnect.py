"""Retries after the connection to a machine was lost, with messages."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from amlexec.console import say
from amlexec.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Reconnect", "limited"]

_Value = TypeVar("_Value")
_FIRST_INTERVAL_S, _LONGEST_INTERVAL_S = 0.1, 15.0
"""Seconds between two attempts."""


_LIMIT_S: ContextVar[float | None] = ContextVar("limit", default=None)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """In this thread, give up after `seconds` without an answer, and print nothing."""
    token = _LIMIT_S.set(seconds)
    try:
        yield
    finally:
        _LIMIT_S.reset(token)


class Reconnect:
    """Retries to reach a run's machine while following the run, until Ctrl-C or as long as `limited`."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._pause = _FIRST_INTERVAL_S
        self._lost = False
        self._since = 0.0

    def keep(self, action: Callable[[], _Value]) -> _Value:
        """Repeat the action until it succeeds; the action must continue where it stopped."""
        while True:
            try:
                value = action()
            except UnreachableError as error:
                self.lost(error)
                continue
            self.found()
            return value

    def lost(self, error: UnreachableError) -> None:
        """The connection was lost: print this once, and wait. Raises `error` when the limit is over."""
        limit = _LIMIT_S.get()
        if not self._lost:
            self._lost, self._since = True, time.monotonic()
            if limit is None:
                why, run = error.message, self._run_id
                say(f"{error.where}: warning: the connection was lost ({why}); the run {run} continues")
                say("  hint: retrying until Ctrl-C; the run can also be followed later")
        elif limit is not None and time.monotonic() - self._since > limit:
            raise error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_INTERVAL_S)

    def found(self) -> None:
        """The machine answers again."""
        if self._lost and _LIMIT_S.get() is None:
            say(f"connected again; following the run {self._run_id}")
        self._lost, self._pause = False, _FIRST_INTERVAL_S
