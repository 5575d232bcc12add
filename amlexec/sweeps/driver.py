"""Execute the points of a sweep: several at once on each target, until all are done or something stops it.

Each target has as many threads as runs at once. A thread claims a point, starts its run and follows it. The
main thread looks after the display, requests to stop, time limits and early stopping. Ctrl-C leaves the runs
running: the journal knows them, and `--resume` collects them.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from amlexec.console import system_error
from amlexec.errors import AmlexecError, TargetError, UsageError
from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, Run
from amlexec.runs.follow import follow
from amlexec.sweeps import execute
from amlexec.sweeps.board import FAILURES_AT_START, Board, Outcome, Watch
from amlexec.sweeps.stopper import Stopper
from amlexec.targets import reconnect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.sweeps.chooser import Chooser
    from amlexec.sweeps.execute import OpenTarget
    from amlexec.sweeps.stopper import Monitor
    from amlexec.sweeps.sweep import Sweep

__all__ = ["FAILURES_AT_START", "Driver", "Outcome", "Watch"]

UNREACHABLE_TIMEOUT_S = 60.0
"""How long a machine is tried to be reached whose run goes on."""
_TICK_S = 0.2
_STARTING_TIMEOUT_S = 60.0
"""After Ctrl-C: how long starting runs are waited for, so that none is in doubt."""


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
        self._sweep, self._targets, self._jobs = sweep, tuple(targets), jobs
        self._board = Board(sweep, len(self._targets), chooser, watch, fail_fast=fail_fast)
        self._stopper = self._board.stopper = Stopper(sweep, monitor, self._board.warn)
        self._changed = self._board.changed
        self._works: list[Callable[[], object]] = []
        if execute.is_for_arrays(self._targets, chooser):
            from amlexec.sweeps.array import ArrayWork

            self._works = [ArrayWork(self._board, self._targets[0], jobs, UNREACHABLE_TIMEOUT_S).run]
        else:
            threads = min(jobs, sweep.total)
            self._works = [partial(self._work, opened) for opened in self._targets for _ in range(threads)]
        self._busy = len(self._works)

    def run(self, adopted: Sequence[int] = ()) -> Outcome:
        """Execute the points; `adopted` are points whose runs go on since an earlier process started them.

        Never raises KeyboardInterrupt: its outcome is `interrupted`.
        """
        self._board.adopt(adopted)
        threads = [threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in self._works]
        began = time.monotonic()
        try:
            for thread in threads:
                thread.start()
            self._stopper.start(self._changed, adopted)
            with self._changed:
                while self._busy:
                    self._changed.wait(_TICK_S)
                    self._tick(began)
            self._board.finish(Outcome("done"))
            self._stopper.finish()
        except KeyboardInterrupt:
            self._stopper.leave()
            self._interrupt()
        outcome = self._board.outcome
        assert outcome is not None
        with self._changed:
            self._sweep.closed(outcome.reason or outcome.why)
        return outcome

    def _interrupt(self) -> None:
        """Start no more runs, and leave when no run is starting."""
        with self._changed:
            self._board.outcome = Outcome("interrupted")
            self._changed.notify_all()
            until = time.monotonic() + _STARTING_TIMEOUT_S
            try:
                while self._board.starting and time.monotonic() < until:
                    self._changed.wait(_TICK_S)
            except KeyboardInterrupt:
                return  # twice: recovery finds out about those that were starting

    def _tick(self, began: float) -> None:
        """The main thread's part, a few times a second. The caller holds the lock."""
        self._board.tick()
        outcome = self._board.outcome
        if outcome is None and self._sweep.paths.stop.exists():
            self._board.finish(Outcome("stopped", "it was asked to stop"))
        limit = self._sweep.definition.timeout_s
        if outcome is None and limit and time.monotonic() - began > limit:
            self._board.finish(Outcome("timeout", f"the time limit of {limit} s is over"))
        self._stopper.check()

    def _guarded(self, work: Callable[[], object]) -> None:
        """Work in a thread, and tell the main thread when it is over."""
        try:
            work()
        except OSError as error:  # the journal can't be written
            self._board.finish(Outcome("error", error=system_error(error)))
        except BaseException as error:
            self._board.finish(Outcome("error", error=TargetError(f"{type(error).__name__}: {error}")))
            raise
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _work(self, opened: OpenTarget) -> None:
        """A thread of a target."""
        while (number := self._board.claim(opened)) is not None:
            self._execute(opened, number)

    def _execute(self, opened: OpenTarget, number: int) -> None:
        try:
            paths, following = (
                self._begun(opened, number) if number in self._board.starting else self._adopted_run(number)
            )
        except UsageError as error:  # the script can't run anywhere
            self._board.not_begun(number, error.message)
            self._board.finish(Outcome("error", error=error))
            return
        except KeyboardInterrupt:  # it was canceled while it was started
            self._board.not_begun(number, "it was canceled")
            return
        except (AmlexecError, OSError) as error:
            self._board.not_begun(number, self._board.is_down(opened, error))
            return
        if self._board.ending() == "interrupted":
            return
        self._await(opened, number, paths, following)

    def _begun(self, opened: OpenTarget, number: int) -> tuple[RunPaths, Callable[[], object]]:
        begun = execute.begin(self._sweep, opened, number)
        self._board.started(number, begun.run.run_id)
        following = partial(
            follow,
            self._sweep.project,
            begun.paths,
            begun.run,
            execute.Silent(),
            end_pipe=begun.end_pipe,
            target=begun.target,
        )
        return begun.paths, following

    def _adopted_run(self, number: int) -> tuple[RunPaths, Callable[[], object]]:
        project = self._sweep.project
        paths = RunPaths.of(project, self._sweep.states[number].run_id)
        run = folders.read(paths)
        return paths, partial(follow, project, paths, run, execute.Silent())

    def _await(
        self, opened: OpenTarget, number: int, paths: RunPaths, following: Callable[[], object]
    ) -> None:
        self._board.began(number, paths)
        try:
            with reconnect.limited(UNREACHABLE_TIMEOUT_S):
                run = following()
        except (AmlexecError, OSError) as error:
            # The run may go on. It stays in the journal as running, for `--resume`.
            self._board.is_down(opened, error)
            return
        finally:
            self._board.left(number)
        if isinstance(run, Run) and run.status in FINAL:
            self._board.ended(number, paths, run)
