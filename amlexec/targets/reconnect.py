"""Retries after the connection to a machine was lost, with messages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from amlexec.console import say
from amlexec.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reconnect"]

_Value = TypeVar("_Value")
_FIRST_INTERVAL_S, _LONGEST_INTERVAL_S = 0.1, 15.0
"""Seconds between two attempts."""


class Reconnect:
    """Retries to reach a run's machine while following the run, until Ctrl-C."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._pause = _FIRST_INTERVAL_S
        self._lost = False

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
        """The connection was lost: print this once, and wait."""
        if not self._lost:
            self._lost = True
            why, run = error.message, self._run_id
            say(f"{error.where}: warning: the connection was lost ({why}); the run {run} continues")
            say("  hint: retrying until Ctrl-C; the run can also be followed later")
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_INTERVAL_S)

    def found(self) -> None:
        """The machine answers again."""
        if self._lost:
            say(f"connected again; following the run {self._run_id}")
        self._lost, self._pause = False, _FIRST_INTERVAL_S
