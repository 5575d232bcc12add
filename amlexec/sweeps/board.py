"""What has happened to the points of a sweep that is executed, for all of its threads.

The methods of `Board` take its lock, unless they say that the caller holds it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amlexec.console import system_error
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.runs import lifecycle
from amlexec.sweeps import execute

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.errors import AmlexecError
    from amlexec.history.record import Run
    from amlexec.search.space import Point
    from amlexec.sweeps.chooser import Chooser
    from amlexec.sweeps.execute import OpenTarget
    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.stopper import Stopper
    from amlexec.sweeps.sweep import Sweep

__all__ = ["FAILURES_AT_START", "Board", "Outcome", "Watch"]

FAILURES_AT_START = 10
"""If that many points fail before any completes, the rest would fail too."""


class Watch(Protocol):
    """Shows what happens. Its methods are called by one thread at a time."""

    def started(self, sweep: Sweep, number: int) -> None:
        """The run of a point was started."""

    def ended(self, sweep: Sweep, number: int) -> None:
        """A point has ended."""

    def warn(self, line: str) -> None:
        """Something is wrong, and the sweep goes on."""

    def say(self, line: str) -> None:
        """Something has happened to many points."""

    def tick(self, sweep: Sweep) -> None:
        """Called a few times a second."""


class Outcome(NamedTuple):
    """Why no more points are executed."""

    why: str
    """`done`, `interrupted`, `stopped` (`amlexec sweep stop`), `failed` (fail-fast or failures from the
    start), `targets` (none is left), `timeout`, or `error`."""
    reason: str = ""
    error: AmlexecError | None = None


class Board:
    """The points of a sweep."""

    def __init__(
        self, sweep: Sweep, targets: int, chooser: Chooser, watch: Watch, *, fail_fast: bool
    ) -> None:
        """`targets` is their number."""
        self.sweep = sweep
        self.stopper: Stopper
        """Set by the driver."""
        self.changed = threading.Condition()
        """The lock."""
        self.outcome: Outcome | None = None
        self.starting: set[int] = set()
        self._targets, self._chooser, self._watch, self._fail_fast = targets, chooser, watch, fail_fast
        self._down: dict[str, AmlexecError] = {}
        """Run configurations whose target can't be used, with the errors."""
        self._adopted: list[int] = []
        self._completed = any(state.status == "Completed" for state in sweep.states.values())
        self._failures = 0

    def adopt(self, numbers: Sequence[int]) -> None:
        """These points have runs that go on since an earlier process started them."""
        self._adopted = [*numbers]

    def adopted(self) -> list[int]:
        """These points; only the first call has any."""
        with self.changed:
            found, self._adopted = self._adopted, []
            return found

    def finish(self, outcome: Outcome) -> None:
        """End the sweep with an outcome, unless it has one. Runs that go on are waited for."""
        with self.changed:
            if self.outcome is None:
                if outcome.why == "done" and self._down and self._unfinished():
                    reason = "; ".join(f"{name}: {error.message}" for name, error in self._down.items())
                    only = next(iter(self._down.values())) if self._targets == 1 else None
                    outcome = Outcome("targets", reason, only)
                self.outcome = outcome
                self.changed.notify_all()

    def _unfinished(self) -> bool:
        states = self.sweep.states
        return any(not state.is_over for state in states.values()) or len(states) < self.sweep.total

    def tick(self) -> None:
        """Show the points as they are. The caller holds the lock."""
        self._watch.tick(self.sweep)

    def warn(self, line: str) -> None:
        """Print a warning."""
        with self.changed:
            self._watch.warn(line)

    def ending(self) -> str:
        """Why no more runs are to be started: `why` of the outcome; "" if they are."""
        with self.changed:
            if self.outcome is None and self.sweep.paths.stop.exists():
                return "stopped"  # the main thread finds it too
            return "" if self.outcome is None else self.outcome.why

    def claim(self, opened: OpenTarget) -> int | None:
        """Claim the next point, or adopt one; None if there is nothing left to do for this thread."""
        with self.changed:
            while True:
                if self._adopted:
                    return self._adopted.pop(0)
                if not self._is_open(opened):
                    return None
                chosen = self._chooser.next()
                if chosen is not None:
                    number, point = chosen
                    self.sweep.claim({number: point}, opened.name)
                    self.starting.add(number)
                    return number
                if not self.starting:
                    return None
                # The start of another point may fail, so that it is pending again.
                self.changed.wait()

    def claim_many(self, opened: OpenTarget, most: int) -> list[int]:
        """Claim up to `most` pending points; none if no more runs are to be started."""
        with self.changed:
            chosen: dict[int, Point | None] = {}
            while self._is_open(opened) and len(chosen) < most and (found := self._chooser.next()):
                chosen[found[0]] = found[1]
            if chosen:
                self.sweep.claim(chosen, opened.name)
                self.starting.update(chosen)
            return [*chosen]

    def _is_open(self, opened: OpenTarget) -> bool:
        is_stopped = self.outcome is not None or self.sweep.paths.stop.exists()
        return not is_stopped and opened.name not in self._down

    def started(self, number: int, run_id: str) -> None:
        """The run of a claimed point was started."""
        with self.changed:
            self.sweep.started(number, run_id)
            self._is_started(number)
            self._watch.started(self.sweep, number)

    def queued(self, runs: dict[int, Run], line: str) -> None:
        """The runs of these claimed points were submitted together, as `line` says."""
        with self.changed:
            for number, run in runs.items():
                self.sweep.queued(number, run.run_id)
                self._is_started(number)
            self._watch.say(line)

    def _is_started(self, number: int) -> None:
        self.starting.discard(number)
        self.changed.notify_all()

    def began(self, number: int, paths: RunPaths) -> None:
        """The script of a submitted point has begun."""
        with self.changed:
            if self.sweep.states[number].status == "Queued":
                self.sweep.started(number, paths.folder.name)
                self._watch.started(self.sweep, number)
            self.stopper.began(number, paths)

    def left(self, number: int) -> None:
        """A point that had begun is not watched any more."""
        with self.changed:
            self.stopper.left(number)

    def ended(self, number: int, paths: RunPaths, run: Run) -> None:
        """The end of a point's run is recorded."""
        with self.changed:
            state = self.sweep.states[number]
        if state.is_stopped and run.status == "Canceled" and not run.reason:
            lifecycle.add_reason(paths, state.reason)
        with self.changed:
            state = self.sweep.ended(number, run)
            self.stopper.ended(number, state)
            self._chooser.ended(number, state)
            self._watch.ended(self.sweep, number)
            if state.status == "Completed":
                self._completed = True
            elif not state.is_stopped:
                self._failed(number, state)

    def _failed(self, number: int, state: PointState) -> None:
        self._failures += 1
        last = execute.last_line(RunPaths.of(self.sweep.project, state.run_id).stderr)
        why = ": ".join(filter(None, (state.status, state.reason, last)))
        if self._fail_fast:
            self.finish(Outcome("failed", f"point {number} is {why}"))
        elif not self._completed and self._failures >= FAILURES_AT_START:
            self.finish(
                Outcome("failed", f"the first {self._failures} points failed; point {number} is {why}")
            )

    def not_begun(self, number: int, reason: str) -> None:
        """Make a point pending again whose run could not be started."""
        left = execute.left_by(self.sweep, number)
        with self.changed:
            if left is None:
                self._put_back(number, reason)
            else:
                # It may have begun: it must not be started again.
                self.sweep.started(number, left.run_id)
                if left.status in FINAL:
                    self._chooser.ended(number, self.sweep.ended(number, left))
                    self._watch.ended(self.sweep, number)
            self._is_started(number)

    def put_back(self, numbers: Iterable[int], reason: str) -> None:
        """These points are pending again, and have no runs any more."""
        with self.changed:
            for number in numbers:
                self._put_back(number, reason)
                self._is_started(number)

    def _put_back(self, number: int, reason: str) -> None:
        self.sweep.returned(number, reason)
        self._chooser.returned(number)

    def in_doubt(self, numbers: Iterable[int]) -> None:
        """Nobody knows now whether the runs of these claimed points were started: `--resume` finds out."""
        with self.changed:
            for number in numbers:
                self._is_started(number)

    def is_down(self, opened: OpenTarget, error: AmlexecError | OSError) -> str:
        """Start no more runs on a target; the reason."""
        found = system_error(error) if isinstance(error, OSError) else error
        with self.changed:
            if opened.name not in self._down:
                self._down[opened.name] = found
                self._watch.warn(f"no more runs are started with {opened.name}: {found.message}")
            return self._down[opened.name].message
