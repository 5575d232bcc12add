"""Execute the points of a sweep: several at once on each target, until all are done or something stops it.

Each target has as many threads as runs at once. A thread claims a point, starts its run and follows it. The
main thread looks after the display, requests to stop, time limits and early stopping. Ctrl-C leaves the runs
running: the journal knows them, and `--resume` collects them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from amlexec.console import system_error
from amlexec.errors import AmlexecError, TargetError, UsageError
from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, Run
from amlexec.runs import lifecycle
from amlexec.runs import submit as submission
from amlexec.sweeps import execute
from amlexec.sweeps.stopper import Stopper
from amlexec.targets import reconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.sweeps.chooser import Chooser
    from amlexec.sweeps.execute import OpenTarget
    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.stopper import Monitor
    from amlexec.sweeps.sweep import Sweep

__all__ = ["FAILURES_AT_START", "Driver", "Outcome", "Watch"]

FAILURES_AT_START = 10
"""If that many points fail before any completes, the rest would fail too."""
UNREACHABLE_TIMEOUT_S = 60.0
"""How long a machine is tried to be reached whose run goes on."""
_TICK_S = 0.2
_STARTING_TIMEOUT_S = 60.0
"""After Ctrl-C: how long starting runs are waited for, so that none is in doubt."""


class Watch(Protocol):
    """Shows what happens. Its methods are called by one thread at a time."""

    def started(self, sweep: Sweep, number: int) -> None:
        """The run of a point was started."""

    def ended(self, sweep: Sweep, number: int) -> None:
        """A point has ended."""

    def warn(self, line: str) -> None:
        """Something is wrong, and the sweep goes on."""

    def tick(self, sweep: Sweep) -> None:
        """Called a few times a second."""


class Outcome(NamedTuple):
    """Why no more points are executed."""

    why: str
    """`done`, `interrupted`, `stopped` (`amlexec sweep stop`), `failed` (fail-fast or failures from the
    start), `targets` (none is left), `timeout`, or `error`."""
    reason: str = ""
    error: AmlexecError | None = None


class Driver:
    """Executes a sweep."""

    def __init__(
        self,
        sweep: Sweep,
        targets: Sequence[OpenTarget],
        chooser: Chooser,
        watch: Watch,
        *,
        jobs: int,
        fail_fast: bool,
        monitor: Monitor | None = None,
    ) -> None:
        self._sweep, self._targets, self._chooser, self._watch = sweep, tuple(targets), chooser, watch
        self._jobs, self._fail_fast = jobs, fail_fast
        self._stopper = Stopper(sweep, monitor, self._warn)
        self._changed = threading.Condition()
        self._outcome: Outcome | None = None
        self._down: dict[str, AmlexecError] = {}
        """Run configurations whose target can't be used, with the errors."""
        self._starting: set[int] = set()
        self._adopted: list[int] = []
        self._busy = 0
        self._completed = any(state.status == "Completed" for state in sweep.states.values())
        self._failures = 0

    def run(self, adopted: Sequence[int] = ()) -> Outcome:
        """Execute the points; `adopted` are points whose runs go on since an earlier process started them.

        Never raises KeyboardInterrupt: its outcome is `interrupted`.
        """
        self._adopted = [*adopted]
        threads = [
            threading.Thread(target=self._work, args=(opened,), daemon=True)
            for opened in self._targets
            for _ in range(min(self._jobs, self._sweep.total))
        ]
        self._busy = len(threads)
        began = time.monotonic()
        try:
            for thread in threads:
                thread.start()
            self._stopper.start(self._changed, adopted)
            with self._changed:
                while self._busy:
                    self._changed.wait(_TICK_S)
                    self._tick(began)
            self._finish(Outcome("done"))
        except KeyboardInterrupt:
            self._interrupt()
        self._stopper.finish()
        outcome = self._outcome
        assert outcome is not None
        with self._changed:
            self._sweep.closed(outcome.reason or outcome.why)
        return outcome

    def _interrupt(self) -> None:
        """Start no more runs, and leave when no run is starting."""
        with self._changed:
            self._outcome = Outcome("interrupted")
            self._changed.notify_all()
            until = time.monotonic() + _STARTING_TIMEOUT_S
            try:
                while self._starting and time.monotonic() < until:
                    self._changed.wait(_TICK_S)
            except KeyboardInterrupt:
                return  # twice: recovery finds out about those that were starting

    def _finish(self, outcome: Outcome) -> None:
        """End the sweep with an outcome, unless it has one. Runs that go on are waited for."""
        with self._changed:
            if self._outcome is None:
                if outcome.why == "done" and self._down and self._unfinished():
                    reason = "; ".join(f"{name}: {error.message}" for name, error in self._down.items())
                    only = next(iter(self._down.values())) if len(self._targets) == 1 else None
                    outcome = Outcome("targets", reason, only)
                self._outcome = outcome
                self._changed.notify_all()

    def _unfinished(self) -> bool:
        states = self._sweep.states
        return any(not state.is_over for state in states.values()) or len(states) < self._sweep.total

    def _tick(self, began: float) -> None:
        """The main thread's part, a few times a second. The caller holds the lock."""
        self._watch.tick(self._sweep)
        if self._outcome is None and self._sweep.paths.stop.exists():
            self._finish(Outcome("stopped", "it was asked to stop"))
        limit = self._sweep.definition.timeout_s
        if self._outcome is None and limit and time.monotonic() - began > limit:
            self._finish(Outcome("timeout", f"the time limit of {limit} s is over"))
        self._stopper.check()

    def _warn(self, line: str) -> None:
        with self._changed:
            self._watch.warn(line)

    def _work(self, opened: OpenTarget) -> None:
        """A thread of a target."""
        try:
            while (number := self._claimed(opened)) is not None:
                self._execute(opened, number)
        except OSError as error:  # the journal can't be written
            self._finish(Outcome("error", error=system_error(error)))
        except BaseException as error:
            self._finish(Outcome("error", error=TargetError(f"{type(error).__name__}: {error}")))
            raise
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _claimed(self, opened: OpenTarget) -> int | None:
        """Claim the next point; None if there is nothing left to do for this thread."""
        with self._changed:
            while True:
                if self._adopted:
                    return self._adopted.pop(0)
                if self._outcome is not None or opened.name in self._down:
                    return None
                if self._sweep.paths.stop.exists():
                    return None  # the main thread finds it too
                chosen = self._chooser.next()
                if chosen is not None:
                    number, point = chosen
                    self._sweep.claim(number, opened.name, point)
                    self._starting.add(number)
                    return number
                if not self._starting:
                    return None
                # The start of another point may fail, so that it is pending again.
                self._changed.wait()

    def _execute(self, opened: OpenTarget, number: int) -> None:
        try:
            paths, follow = (
                self._begun(opened, number) if number in self._starting else self._adopted_run(number)
            )
        except UsageError as error:  # the script can't run anywhere
            self._not_begun(number, error.message)
            self._finish(Outcome("error", error=error))
            return
        except KeyboardInterrupt:  # it was canceled while it was started
            self._not_begun(number, "it was canceled")
            return
        except (AmlexecError, OSError) as error:
            self._lost_target(opened, number, error)
            return
        if self._outcome is not None and self._outcome.why == "interrupted":
            return
        self._await(opened, number, paths, follow)

    def _begun(self, opened: OpenTarget, number: int) -> tuple[RunPaths, Callable[[], object]]:
        begun = execute.begin(self._sweep, opened, number)
        with self._changed:
            self._sweep.started(number, begun.run.run_id)
            self._starting.discard(number)
            self._changed.notify_all()
            self._watch.started(self._sweep, number)

        def follow() -> object:
            return submission.follow(
                self._sweep.project,
                begun.paths,
                begun.run,
                execute.Silent(),
                bell=begun.bell,
                target=begun.target,
            )

        return begun.paths, follow

    def _adopted_run(self, number: int) -> tuple[RunPaths, Callable[[], object]]:
        project = self._sweep.project
        paths = RunPaths.of(project, self._sweep.states[number].run_id)
        run = folders.read(paths)
        return paths, lambda: submission.follow(project, paths, run, execute.Silent())

    def _await(self, opened: OpenTarget, number: int, paths: RunPaths, follow: Callable[[], object]) -> None:
        with self._changed:
            self._stopper.began(number, paths)
        try:
            with reconnect.limited(UNREACHABLE_TIMEOUT_S):
                run = follow()
        except (AmlexecError, OSError) as error:
            # The run may go on. It stays in the journal as running, for `--resume`.
            with self._changed:
                self._is_down(opened, error)
            return
        finally:
            with self._changed:
                self._stopper.left(number)
        if isinstance(run, Run) and run.status in FINAL:
            self._ended(number, paths, run)

    def _ended(self, number: int, paths: RunPaths, run: Run) -> None:
        with self._changed:
            state = self._sweep.states[number]
        if state.is_stopped and run.status == "Canceled" and not run.reason:
            lifecycle.add_reason(paths, state.reason)
        with self._changed:
            state = self._sweep.ended(number, run)
            self._stopper.ended(number, state)
            self._chooser.ended(number, state)
            self._watch.ended(self._sweep, number)
            if state.status == "Completed":
                self._completed = True
            elif not state.is_stopped:
                self._failed(number, state)

    def _failed(self, number: int, state: PointState) -> None:
        self._failures += 1
        last = execute.last_line(RunPaths.of(self._sweep.project, state.run_id).stderr)
        why = ": ".join(filter(None, (state.status, state.reason, last)))
        if self._fail_fast:
            self._finish(Outcome("failed", f"point {number} is {why}"))
        elif not self._completed and self._failures >= FAILURES_AT_START:
            self._finish(
                Outcome("failed", f"the first {self._failures} points failed; point {number} is {why}")
            )

    def _not_begun(self, number: int, reason: str) -> None:
        """Make a point pending again whose run could not be started."""
        left = execute.left_by(self._sweep, number)
        with self._changed:
            if left is None:
                self._sweep.returned(number, reason)
                self._chooser.returned(number)
            else:
                # It may have begun: it must not be started again.
                self._sweep.started(number, left.run_id)
                if left.status in FINAL:
                    self._chooser.ended(number, self._sweep.ended(number, left))
                    self._watch.ended(self._sweep, number)
            self._starting.discard(number)
            self._changed.notify_all()

    def _lost_target(self, opened: OpenTarget, number: int, error: AmlexecError | OSError) -> None:
        with self._changed:
            self._is_down(opened, error)
        self._not_begun(number, self._down[opened.name].message)

    def _is_down(self, opened: OpenTarget, error: AmlexecError | OSError) -> None:
        """Start no more runs on a target. The caller holds the lock."""
        found = system_error(error) if isinstance(error, OSError) else error
        if opened.name not in self._down:
            self._down[opened.name] = found
            self._watch.warn(f"no more runs are started with {opened.name}: {found.message}")
