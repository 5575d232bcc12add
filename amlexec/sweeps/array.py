"""Execute the points of a sweep as the elements of job arrays, which the cluster starts.

One thread submits all pending points at once, then reads their states, of all of them in one call. Others
collect what has ended. Ctrl-C leaves the arrays in the cluster's queue: the journal knows them.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from amlexec.console import system_error
from amlexec.errors import AmlexecError, TargetError, UnreachableError, UsageError
from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.runs import lifecycle, many, submit_many
from amlexec.runs.snapshot import TakenSnapshot
from amlexec.sweeps.board import Outcome
from amlexec.sweeps.execute import plan_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.history.record import Run
    from amlexec.runs.submit_many import Submitted
    from amlexec.sweeps.board import Board
    from amlexec.sweeps.execute import OpenTarget
    from amlexec.sweeps.sweep import Sweep
    from amlexec.targets.slurm import SlurmTarget
    from amlexec.targets.target import State

__all__ = ["ArrayWork", "target_of", "withdraw", "withdraw_queued"]

_COLLECTORS = 4
_PAUSES_S = (0.2, 3.0)
"""The shortest and the longest pause between two looks at the runs' files, in seconds."""
_INTERVALS_S = (3.0, 30.0)
"""The same between two questions to Slurm, which also knows of runs that could write no end."""


class _Out(NamedTuple):
    """A point that was submitted."""

    number: int
    paths: RunPaths


class ArrayWork:
    """The work of a sweep's one target."""

    def __init__(self, board: Board, opened: OpenTarget, jobs: int, patience: float) -> None:
        """`patience` is how long the target may be unreachable, in seconds."""
        self._board, self._sweep, self._opened = board, board.sweep, opened
        self._jobs, self._patience = jobs, patience
        self._out: dict[str, _Out] = {}
        """By run id."""
        self._begun: set[str] = set()
        self._collecting: set[str] = set()
        self._to_collect: queue.SimpleQueue[tuple[_Out, State | None] | None] = queue.SimpleQueue()
        self._collected: queue.SimpleQueue[tuple[_Out, Run | AmlexecError]] = queue.SimpleQueue()
        self._target: SlurmTarget | None = None
        self._most = 0
        """Elements of an array; 0 if the cluster was not asked yet."""
        self._newest: Submitted | None = None
        self._throttle = 0
        """How many elements of the newest array run at once; 0 for no limit."""
        self._silent_since: float | None = None

    def run(self) -> None:
        """Work until nothing is left, or the sweep was interrupted. Raises OSError if the journal is full."""
        for _ in range(_COLLECTORS):
            threading.Thread(target=self._collect, daemon=True).start()
        try:
            self._run()
        finally:
            for _ in range(_COLLECTORS):
                self._to_collect.put(None)

    def _run(self) -> None:
        for number in self._board.adopted():
            paths = RunPaths.of(self._sweep.project, self._sweep.states[number].run_id)
            self._out[paths.folder.name] = _Out(number, paths)
        pause, interval, asked = _PAUSES_S[0], _INTERVALS_S[0], time.monotonic()
        while True:
            why = self._board.ending()
            if why == "interrupted":
                return
            if why:
                self._take_back(why)
            elif len(self._out) < self._jobs and self._submit():
                pause, interval = _PAUSES_S[0], _INTERVALS_S[0]
            if not self._out:
                return
            is_due = time.monotonic() - asked > interval
            has_changed = self._looked(is_due=is_due)
            if is_due:
                asked, interval = time.monotonic(), min(1.5 * interval, _INTERVALS_S[1])
            if self._settle(pause) or has_changed:
                pause = _PAUSES_S[0]
                self._raise_throttle()
            else:
                pause = min(1.3 * pause, _PAUSES_S[1])

    def _submit(self) -> bool:
        """Submit an array of pending points; returns whether there were any, and the target accepted them."""
        numbers: list[int] = []
        try:
            if not self._most:
                # An array of one element is as good as any, where a cluster takes no others.
                self._most = max(1, self._known_target().most())
            numbers = self._board.claim_many(self._opened, self._most)
            if not numbers:
                return False
            found = self._submitted(numbers)
        except UsageError as error:  # the script can't run anywhere
            self._board.put_back(numbers, error.message)
            self._board.finish(Outcome("error", error=error))
            return False
        except UnreachableError as error:  # it may have been submitted
            self._board.is_down(self._opened, error)
            self._board.in_doubt(numbers)
            return False
        except (AmlexecError, OSError) as error:
            self._board.put_back(numbers, self._board.is_down(self._opened, error))
            return False
        runs = dict(zip(numbers, (run for _, run in found.runs), strict=True))
        self._out |= {
            run.run_id: _Out(number, paths) for number, (paths, run) in zip(numbers, found.runs, strict=True)
        }
        name = self._opened.recorded.target
        self._board.queued(runs, f"{name}: {len(numbers)} points were submitted as the job {found.job}")
        return True

    def _submitted(self, numbers: Sequence[int]) -> Submitted:
        definition = self._sweep.definition
        plans = [plan_of(definition, self._opened, number, self._sweep.point(number)) for number in numbers]
        taken = TakenSnapshot(definition.snapshot, definition.source)
        free = max(1, self._jobs - len(self._out))
        found = self._newest = submit_many.begin(self._known_target(), plans, taken, free)
        self._throttle = free if free < len(numbers) else 0
        return found

    def _known_target(self) -> SlurmTarget:
        if self._target is None:
            self._target = target_of(self._sweep, self._opened)
        return self._target

    def _raise_throttle(self) -> None:
        """Let the newest array have the places of runs of others that have ended."""
        if not self._throttle or self._newest is None:
            return
        newest = {run.run_id for _, run in self._newest.runs}
        free = max(1, self._jobs - len(self._out.keys() - newest))
        if free > self._throttle:
            try:
                self._known_target().throttle(self._newest.name, free)
            except (AmlexecError, OSError):
                return  # it is tried again
            self._throttle = free

    def _take_back(self, why: str) -> None:
        """Withdraw the points that wait in the queue."""
        waiting = {
            out.number: run_id
            for run_id, out in self._out.items()
            if run_id not in self._begun and run_id not in self._collecting
        }
        if not waiting:
            return
        try:
            removed = withdraw(self._sweep, self._known_target(), waiting)
        except (AmlexecError, OSError) as error:
            self._is_silent(error)  # else it is tried again
            return
        for number in removed:
            del self._out[waiting[number]]
        self._board.put_back(sorted(removed), f"it was not started: {why}")

    def _looked(self, *, is_due: bool) -> bool:
        """Look at the runs; whether something has changed. Slurm is asked about all if that `is_due`."""
        waiting = {run_id: out for run_id, out in self._out.items() if run_id not in self._collecting}
        if not waiting:
            return False
        try:
            marks = self._known_target().marks([out.paths for out in waiting.values()])
            over = [run_id for run_id, mark in marks.items() if mark == "ended" and run_id in waiting]
            asked = waiting if is_due else over
            states = self._known_target().states([waiting[run_id].paths for run_id in asked])
        except (AmlexecError, OSError) as error:
            self._is_silent(error)
            return False
        self._silent_since = None
        begun = [run_id for run_id in marks if run_id in waiting and run_id not in self._begun]
        for run_id in begun:
            self._begun.add(run_id)
            self._board.began(waiting[run_id].number, waiting[run_id].paths)
        over += [run_id for run_id, state in states.items() if state.phase not in {"starting", "running"}]
        for run_id in dict.fromkeys(over):
            self._collecting.add(run_id)
            self._to_collect.put((waiting[run_id], states.get(run_id)))
        return bool(begun or over)

    def _is_silent(self, error: AmlexecError | OSError) -> None:
        """The target could not be asked. Give up after a while: the runs stay in the journal."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if not isinstance(error, UnreachableError) or now - self._silent_since > self._patience:
            self._board.is_down(self._opened, error)
            self._out.clear()

    def _settle(self, pause: float) -> bool:
        """Record what was collected, and wait for more; whether there was any."""
        found = []
        try:
            found.append(self._collected.get(timeout=pause))
            while True:
                found.append(self._collected.get_nowait())
        except queue.Empty:
            pass
        for out, run in found:
            run_id = out.paths.folder.name
            self._collecting.discard(run_id)
            if isinstance(run, AmlexecError):
                self._is_silent(run)
            elif run.status in FINAL:
                self._out.pop(run_id, None)
                if run_id in self._begun:
                    self._board.left(out.number)
                self._board.ended(out.number, out.paths, run)
        return bool(found)

    def _collect(self) -> None:
        """A thread that collects what has ended."""
        while (found := self._to_collect.get()) is not None:
            out, state = found
            try:
                run: Run | AmlexecError = lifecycle.refresh(
                    self._sweep.project, folders.read(out.paths), state
                )
            except AmlexecError as error:
                run = error
            except OSError as error:
                run = system_error(error)
            except Exception as error:  # it would end this thread, and the sweep would wait for ever
                run = TargetError(f"{type(error).__name__}: {error}")
            self._collected.put((out, run))


def target_of(sweep: Sweep, opened: OpenTarget) -> SlurmTarget:
    """The target of a sweep for which `execute.is_for_arrays`."""
    return submit_many.target_of(plan_of(sweep.definition, opened, 1, ()))


def withdraw(sweep: Sweep, target: SlurmTarget, numbers: Iterable[int]) -> set[int]:
    """Remove the runs of points whose script has not begun; it never begins. Which points.

    Raises as `many.withdraw` does.
    """
    by_run = {sweep.states[number].run_id: number for number in numbers}
    return {by_run[run_id] for run_id in many.withdraw(sweep.project, target, list(by_run))}


def withdraw_queued(sweep: Sweep) -> bool:
    """The same for the queued points of a sweep that no process executes; whether there were any."""
    queued = [number for number, state in sweep.states.items() if state.status == "Queued"]
    run = folders.read(RunPaths.of(sweep.project, sweep.states[queued[0]].run_id))
    removed = withdraw(sweep, many.target_of_many(sweep.project, run), queued)
    for number in sorted(removed):
        sweep.returned(number, "it was not started: the sweep was stopped")
    sweep.closed("it was asked to stop")
    return bool(removed)
