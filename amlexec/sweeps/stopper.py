"""Stop running points of a sweep: those that take too long, and those that early stopping finds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from amlexec.errors import AmlexecError
from amlexec.history.paths import RunPaths
from amlexec.runs import lifecycle
from amlexec.sweeps.monitor import bring_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.sweep import Sweep

__all__ = ["Monitor", "Stopper"]

_METRICS_INTERVAL_S = 1.0
_CANCEL_GRACE_S = 10
_LAST_TIMEOUT_S = 60.0
"""How long the end of a sweep waits for a thread that is recording the end of a run."""


class Monitor(Protocol):
    """Decides which running points are stopped early."""

    def unpromising(self, running: dict[int, RunPaths]) -> list[tuple[int, str]]:
        """The running points to stop, each with a reason."""

    def ended(self, number: int, state: PointState) -> None:
        """A point has ended."""


class Stopper:
    """The running points of a sweep. All methods but `stop` are called by one thread at a time."""

    def __init__(self, sweep: Sweep, monitor: Monitor | None, warn: Callable[[str], None]) -> None:
        """`warn` is called from other threads."""
        self._sweep, self._monitor, self._warn = sweep, monitor, warn
        self._running: dict[int, RunPaths] = {}
        self._since: dict[int, float] = {}
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def began(self, number: int, paths: RunPaths) -> None:
        """A point is being followed from now on."""
        self._running[number] = paths
        self._since[number] = time.monotonic()

    def left(self, number: int) -> None:
        """A point is not followed any more."""
        del self._running[number], self._since[number]

    def ended(self, number: int, state: PointState) -> None:
        """The end of a point is recorded."""
        if self._monitor is not None:
            self._monitor.ended(number, state)

    def start(self, lock: threading.Condition, adopted: Sequence[int]) -> None:
        """Stop the `adopted` points that an earlier process wanted to stop, and bring metrics here.

        Other methods are called with `lock`.
        """
        for number in adopted:
            state = self._sweep.states[number]
            if state.is_stopped and state.run_id:
                self.stop(number, state.reason)
        if self._monitor is not None:
            self._begin(lambda: self._bring(lock))

    def finish(self) -> None:
        """No point is followed any more.

        Waits for threads that may have found the end of a run before the one that followed it: they record
        it, and remove what the run no longer needs.
        """
        self.leave()
        for thread in self._threads:
            thread.join(_LAST_TIMEOUT_S)

    def leave(self) -> None:
        """The runs go on, and this process ends. Idempotent."""
        self._is_over.set()

    def _begin(self, work: Callable[[], object]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _bring(self, lock: threading.Condition) -> None:
        """A thread of its own: bring the metrics of runs elsewhere here."""
        while not self._is_over.wait(_METRICS_INTERVAL_S):
            with lock:
                running = [*self._running.values()]
            bring_metrics(self._sweep.project, running)

    def check(self) -> None:
        """Stop the points that take too long, and those that are not worth going on."""
        states = self._sweep.states
        running = {number: paths for number, paths in self._running.items() if not states[number].is_stopped}
        limit, now = self._sweep.definition.run_timeout_s, time.monotonic()
        chosen = [
            (number, f"stopped after its time limit of {limit} s")
            for number in running
            if limit and now - self._since[number] > limit
        ]
        if not chosen and running and self._monitor is not None:
            chosen = self._monitor.unpromising(running)
        for number, reason in chosen:
            self._sweep.stopping(number, reason)
            self.stop(number, reason)

    def stop(self, number: int, reason: str) -> None:
        """Cancel the run of a point, in a thread of its own: that takes until the run has ended."""
        paths = RunPaths.of(self._sweep.project, self._sweep.states[number].run_id)

        def cancel() -> None:
            try:
                lifecycle.cancel(self._sweep.project, paths, _CANCEL_GRACE_S, reason=reason)
            except (AmlexecError, OSError) as error:
                self._warn(f"point {number} could not be stopped: {error}")

        self._begin(cancel)
