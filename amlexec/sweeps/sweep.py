"""An open sweep: its definition, its journal and the state of its points; only its own process has it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.history.record import FINAL
from amlexec.sweeps import journal, store
from amlexec.sweeps.definition import points_of
from amlexec.sweeps.journal import Journal, PointState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from amlexec.history.record import Run
    from amlexec.locks import Held
    from amlexec.search.space import Point
    from amlexec.sweeps.definition import Definition
    from amlexec.sweeps.store import SweepPaths
    from amlexec.values import Project

__all__ = [
    "Best",
    "Sweep",
    "best",
    "is_better",
    "metric_of",
    "number_of",
    "open_again",
    "seconds_of",
    "total",
]

_NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


class Sweep:
    """A sweep whose lock this process holds. Threads change it under a lock of their own."""

    def __init__(self, project: Project, paths: SweepPaths, definition: Definition, held: Held) -> None:
        """Raises OSError if the journal can't be opened."""
        self.project, self.paths, self.definition = project, paths, definition
        self._held = held
        self._points = points_of(definition)
        self._journal = Journal(paths.journal)
        self.states: dict[int, PointState] = journal.read(paths.journal)
        """By number; pending points that were never claimed are missing."""
        self._journal.append("open", owner=_owner(), jobs=definition.jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Close the journal, and release the lock. Idempotent."""
        self._journal.close()
        self._held.release()

    @property
    def total(self) -> int:
        """The number of points."""
        return total(self.definition)

    def point(self, number: int) -> Point:
        """The parameters of a point."""
        state = self.states.get(number)
        if state is not None and state.point is not None:
            return state.point
        assert self._points is not None, "points that are chosen one after the other are in the journal"
        return self._points[number - 1]

    def claim(self, points: Mapping[int, Point | None], configuration: str) -> None:
        """Record that points will be executed; with their parameters if they were chosen now."""
        last = [*points][-1]
        for number, point in points.items():
            values: dict[str, Any] = {"point": number, "with": configuration}
            if point is not None:
                values["parameters"] = [[name, *value] for name, value in point]
            # The last one brings the others to the disk.
            self._journal.append("claim", durable=number == last, **values)
            before = self.states.get(number, PointState("Pending"))
            self.states[number] = before.claimed(configuration, point)

    def queued(self, number: int, run_id: str) -> None:
        """Record the run of a point, which waits in a cluster's queue."""
        self._journal.append("queue", durable=False, point=number, run=run_id)
        self.states[number] = self.states[number]._replace(status="Queued", run_id=run_id)

    def started(self, number: int, run_id: str) -> None:
        """Record the run of a point."""
        self._journal.append("start", durable=False, point=number, run=run_id)
        self.states[number] = self.states[number]._replace(status="Running", run_id=run_id)

    def stopping(self, number: int, reason: str) -> None:
        """Record that a point will be stopped early."""
        self._journal.append("stop", point=number, reason=reason)
        self.states[number] = self.states[number]._replace(is_stopped=True, reason=reason)

    def ended(self, number: int, run: Run) -> PointState:
        """Record the end of a point's run. The end of a point never changes."""
        state = self.states[number]
        if state.is_over:
            return state
        assert run.status in FINAL
        metric = metric_of(run, self.definition.metric)
        seconds = seconds_of(run)
        self._journal.append(
            "end",
            point=number,
            run=run.run_id,
            status=run.status,
            reason=run.reason,
            metric=metric,
            duration_s=seconds,
        )
        self.states[number] = state._replace(
            status=run.status,
            run_id=run.run_id,
            reason=run.reason or state.reason,
            metric=metric,
            is_stopped=state.is_stopped and run.status == "Canceled",
            duration_s=seconds,
        )
        return self.states[number]

    def returned(self, number: int, reason: str) -> None:
        """Record that a point is pending again."""
        self._journal.append("return", point=number, reason=reason)
        self.states[number] = self.states[number].returned(reason)

    def closed(self, reason: str) -> None:
        """Record why this process executes no more points."""
        self._journal.append("close", reason=reason)


def total(definition: Definition) -> int:
    """The number of points of a sweep. A space with fewer points than wanted is searched completely."""
    points = points_of(definition)
    if points is None:
        sizes = [domain.size for _, domain in definition.parameters]
        whole = math.prod(size or 0 for size in sizes) if None not in sizes else 0
        return min(definition.most_points, whole) if whole else definition.most_points
    return min(points.size, definition.most_points) if definition.most_points else points.size


class Best(NamedTuple):
    """The best completed point so far."""

    number: int
    state: PointState
    value: float


def best(definition: Definition, states: dict[int, PointState]) -> Best | None:
    """The completed point with the best metric; of equal ones, the first. None if no point has a number."""
    found: Best | None = None
    for number, state in sorted(states.items()):
        value = number_of(state.metric)
        if state.status != "Completed" or value is None:
            continue
        if found is None or is_better(definition.goal, value, found.value):
            found = Best(number, state, value)
    return found


def is_better(goal: str, value: float, other: float) -> bool:
    """Whether a value of the metric is better than another."""
    return value < other if goal == "minimize" else value > other


def number_of(metric: Any) -> float | None:
    """A value of a metric as a number; None for anything else, NaN and infinite ones included."""
    if isinstance(metric, bool) or not isinstance(metric, (int, float)) or not math.isfinite(metric):
        return None
    return float(metric)


def metric_of(run: Run, name: str) -> Any:
    """The last value of a metric of a run: a number, `NaN`, or None for no such value."""
    value = run.metrics.get(name) if name else None
    return value if number_of(value) is not None else "NaN" if value in _NOT_FINITE else None


def seconds_of(run: Run) -> float | None:
    """How long a run has taken, by its record; None if it has not ended, or not begun."""
    if run.start_time_utc is None or run.end_time_utc is None:
        return None
    from datetime import datetime

    began, ended = (datetime.fromisoformat(text[:-1]) for text in (run.start_time_utc, run.end_time_utc))
    return max(0.0, (ended - began).total_seconds())


def _owner() -> dict[str, Any]:
    """This process: its number, its start, and the boot of its machine."""
    found: dict[str, Any] = {"pid": os.getpid(), "host": os.uname().nodename}
    try:
        found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        # The name of the program, in brackets, may contain blanks.
        found["start"] = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        pass  # not Linux; the lock decides, this is for readers
    return found


def open_again(project: Project, paths: SweepPaths) -> Sweep:
    """Open an existing sweep, to continue it.

    Raises:
        UsageError: another process executes it.
        TargetError: its definition can't be read.
    """
    definition = store.load(paths)
    held = store.claim(paths)
    try:
        paths.stop.unlink(missing_ok=True)
        return Sweep(project, paths, definition, held)
    except BaseException:
        held.release()
        raise
