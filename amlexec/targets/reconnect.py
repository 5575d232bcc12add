"""Going on after contact with a machine was lost: what may pass is waited for, and said."""

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
"""Seconds between two tries."""


class Reconnect:
    """How long somebody who follows a run goes on trying to reach its machine: for ever, until Ctrl-C."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._pause = _FIRST_INTERVAL_S
        self._lost = False

    def keep(self, action: Callable[[], _Value]) -> _Value:
        """Do it until contact holds; what it does has to go on from where it stopped."""
        while True:
            try:
                value = action()
            except UnreachableError as error:
                self.lost(error)
                continue
            self.found()
            return value

    def lost(self, error: UnreachableError) -> None:
        """Contact was lost: say so once, and wait."""
        if not self._lost:
            self._lost = True
            say(f"{error.where}: warning: contact is lost ({error.message}); the run {self._run_id} goes on")
            say("  hint: trying again until Ctrl-C; the run can be followed later as well")
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_INTERVAL_S)

    def found(self) -> None:
        """Contact is there again."""
        if self._lost:
            say(f"contact is there again; following the run {self._run_id}")
        self._lost, self._pause = False, _FIRST_INTERVAL_S
