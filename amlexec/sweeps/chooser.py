"""Which point is executed next."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amlexec.search.space import Point
    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.sweep import Sweep

__all__ = ["Chooser", "InOrder"]


class Chooser(Protocol):
    """Chooses points. Its methods are called by one thread at a time."""

    def next(self) -> tuple[int, Point | None] | None:
        """The number of the next point, and its parameters if they were chosen just now; None for no more."""

    def returned(self, number: int) -> None:
        """A point that was chosen is pending again."""

    def ended(self, number: int, state: PointState) -> None:
        """A point has ended."""


class InOrder:
    """The pending points by their numbers."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._unseen = 1
        self._returned: list[int] = []

    def next(self) -> tuple[int, Point | None] | None:
        """See `Chooser.next`."""
        if self._returned:
            return heapq.heappop(self._returned), None
        while self._unseen <= self._sweep.total:
            number = self._unseen
            self._unseen += 1
            state = self._sweep.states.get(number)
            if state is None or state.status == "Pending":
                return number, None
        return None

    def returned(self, number: int) -> None:
        """See `Chooser.returned`."""
        heapq.heappush(self._returned, number)

    def ended(self, number: int, state: PointState) -> None:
        """See `Chooser.ended`: the order does not depend on results."""
