"""The journal of a sweep: a line for each step of each point, only ever appended to.

A point is claimed before its run is made, so that after a crash the points in doubt are known. The process
that holds the sweep's lock writes; anyone may read. Events are JSON objects:

- `open`: a process began to execute the sweep (`owner`: its number, its start, and the machine's boot)
- `claim`: `point` will be executed with the run configuration `with`; `parameters` if they were chosen now
- `start`: the run `run` was started for it; not synced to the disk, since the run's record has the point
- `queue`: the same, and it waits in the queue of a cluster
- `stop`: it will be stopped early, for `reason`
- `end`: it ended with `status`, `reason` and the last value of the `metric`
- `return`: it was not executed, for `reason`: it is pending again
- `close`: the process ended, for `reason`
"""

from __future__ import annotations

import json
import os
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from amlexec import checked_values as checked
from amlexec.files import open_regular, open_to_write, sync_folder
from amlexec.history.record import FINAL, instant, is_run_id
from amlexec.search.domains import Value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.search.space import Point

__all__ = ["Journal", "PointState", "read"]

_LONGEST = 1 << 20
"""In bytes, of a line."""


class PointState(NamedTuple):
    """What the journal knows of a point. A point without an entry is pending."""

    status: str
    """`Pending`, `Starting`, `Queued` by a cluster, `Running`, or how its run ended."""
    configuration: str = ""
    run_id: str = ""
    reason: str = ""
    metric: Any = None
    """The last value of the sweep's metric; None for no value."""
    point: Point | None = None
    """Its parameters, if they were chosen when it was claimed."""
    is_stopped: bool = False
    """Whether it was stopped early."""
    duration_s: float | None = None
    earlier: tuple[str, ...] = ()
    """Its runs of earlier attempts."""

    @property
    def is_over(self) -> bool:
        """Whether it is not executed again."""
        return self.status in FINAL

    def claimed(self, configuration: str, point: Point | None) -> PointState:
        """The state after it was claimed."""
        return PointState("Starting", configuration, point=point or self.point, earlier=self.earlier)

    def returned(self, reason: str) -> PointState:
        """The state after it became pending again."""
        earlier = (*self.earlier, self.run_id) if self.is_over else self.earlier
        return PointState("Pending", reason=reason, point=self.point, earlier=earlier)


class Journal:
    """Appends to the journal of a sweep whose lock the caller holds."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if missing. Cuts off a line that a crash left incomplete.

        Raises OSError.
        """
        self._descriptor = open_to_write(path)
        try:
            sync_folder(path.parent)
            with open_regular(path, follow=False) as file:
                self._size = _complete(file)
            os.ftruncate(self._descriptor, self._size)
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, event: str, *, durable: bool = True, **values: Any) -> None:
        """Append an event; if it is `durable`, it is on the disk when this returns.

        After an error the journal is as before. Raises OSError.
        """
        entry = {"event": event, "time": instant(time.time()), **values}
        line = json.dumps(entry).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._descriptor, line[written:], self._size + written)
            if durable:
                os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _complete(file: IO[bytes]) -> int:
    """The size of the file up to the end of its last complete line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _LONGEST)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def read(path: Path) -> dict[int, PointState]:
    """The state of every point that was claimed, by number. Lines that can't be read are passed over.

    Raises OSError if the file can't be read; a missing file has no points.
    """
    states: dict[int, PointState] = {}
    for entry in _entries(path):
        number = entry.get("point")
        if isinstance(number, int) and not isinstance(number, bool) and number > 0:
            try:
                states[number] = _after(states.get(number, PointState("Pending")), entry)
            except (ValueError, TypeError):
                continue
    return states


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = open_regular(path, follow=False)
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(_LONGEST):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict):
                yield entry


def _after(state: PointState, entry: dict[str, Any]) -> PointState:
    """The state after an event. Raises ValueError or TypeError if a part of the event is invalid."""
    event = entry.get("event")
    if event == "claim":
        chosen = entry.get("parameters")
        point = (
            None
            if chosen is None
            else tuple((str(name), Value(str(text), value)) for name, text, value in chosen)
        )
        return state.claimed(checked.text(entry["with"]), point)
    if event in {"start", "queue"}:
        status = "Running" if event == "start" else "Queued"
        return state._replace(status=status, run_id=_run_id(entry["run"]))
    if event == "stop":
        return state._replace(is_stopped=True, reason=checked.text(entry["reason"]))
    if event == "return":
        return state.returned(checked.text(entry.get("reason", "")))
    if event == "end" and not state.is_over and entry["status"] in FINAL:
        duration = entry.get("duration_s")
        return state._replace(
            status=entry["status"],
            run_id=_run_id(entry["run"]),
            reason=checked.text(entry.get("reason", "")) or state.reason,
            metric=checked.plain_value(entry.get("metric")),
            is_stopped=state.is_stopped and entry["status"] == "Canceled",
            duration_s=duration if isinstance(duration, (int, float)) else None,
        )
    return state


def _run_id(value: object) -> str:
    if not isinstance(value, str) or not is_run_id(value):
        raise ValueError("is not a run id")
    return value
