"""The runs of a page that is kept current: only what has changed on disk is read again."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import TargetError
from amlexec.history import find, folders, listing, live_outputs
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, is_run_id
from amlexec.report import rows, write
from amlexec.report.code import code_of
from amlexec.report.collect import ReadRun, budget_of, points_of, read_run
from amlexec.report.curves import packed
from amlexec.report.details import details
from amlexec.report.packages import packages_by_key
from amlexec.report.page import in_script, live_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["LiveRuns"]

_INTERVAL_S = 0.5
"""Several pages that are open ask together no more often than this."""
_READING = 10
"""The part of the time that may go into reading the same long series again: a tenth."""
_LOG = 64_000
"""Bytes of the end of a log."""


_State = tuple[tuple[object, ...], ...]


class _Known(NamedTuple):
    """A run as it was read, and the state of its files then."""

    state: _State
    run: Run | None
    read: ReadRun
    again_at: float = 0.0
    """When it may be read again, on the monotonic clock. Long series are not read the whole time."""

    @property
    def is_live(self) -> bool:
        """Whether the run may still write into its outputs."""
        return self.run is not None and self.run.status not in FINAL

    def is_current(self, state: _State) -> bool:
        """Whether it need not be read again. A record that has changed is always read."""
        return self.state == state or (self.state[0] == state[0] and time.monotonic() < self.again_at)


class LiveRuns:
    """The runs of a project as a page asks for them. Thread-safe."""

    def __init__(self, project: Project, chosen: Sequence[str], most: int) -> None:
        """`chosen` are run ids; without any, the newest `most` runs are shown."""
        self._project, self._chosen, self._most = project, list(chosen), most
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()
        self._read_at = -_INTERVAL_S
        self._answer: tuple[str, bytes] = ("", b"")
        self._main: dict[str, Any] = {}

    def document(self) -> bytes:
        """The page."""
        self.runs()
        return live_document(self._main)

    def runs(self) -> tuple[str, bytes]:
        """The tag of the current state, and its JSON. Raises TargetError if the folder can't be read."""
        with self._lock:
            if time.monotonic() - self._read_at >= _INTERVAL_S:
                self._refresh()
                self._read_at = time.monotonic()
            return self._answer

    def curves(self, run_id: str) -> bytes | None:
        """The curves of a run on the page."""
        known = self._known.get(run_id)
        return None if known is None else packed([(run_id, known.read.curves)])

    def details(self, run_id: str) -> bytes | None:
        """The details of a run on the page, as they are now."""
        known = self._known.get(run_id)
        if known is None or known.run is None:
            return None
        budget = budget_of(1)
        budget.log = _LOG
        found = details(RunPaths.of(self._project, run_id), known.run, budget)
        return in_script({**found, "tables": known.read.tables})

    def packages(self, run_id: str) -> bytes | None:
        """The packages of a run on the page."""
        known = self._known.get(run_id)
        if known is None or known.run is None:
            return None
        return in_script(next(iter(packages_by_key(self._project, [known.run]).values()), None))

    def code(self, trees: Sequence[str]) -> bytes:
        """The code of snapshots of runs on the page."""
        own = {known.run.snapshot.tree for known in self._known.values() if known.run and known.run.snapshot}
        return in_script(code_of(self._project, [tree for tree in trees if tree in own], write.CODE))

    def running(self) -> list[Run]:
        """The runs whose end is not recorded."""
        return [known.run for known in self._known.values() if known.run and not known.read.row["final"]]

    def _refresh(self) -> None:
        ids = find.ids(self._project)
        if self._chosen:
            shown = [run_id for run_id in self._chosen if run_id in ids]
        else:
            shown = [name for name in listing.newest(self._project, self._most) if is_run_id(name)]
        known: dict[str, _Known] = {}
        changed: list[str] = []
        for run_id in shown:
            before = self._known.get(run_id)
            paths = RunPaths.of(self._project, run_id)
            if before is not None and before.is_current(_state(paths, is_live=before.is_live)):
                known[run_id] = before
            else:
                changed.append(run_id)
        present = [each.run for each in known.values() if each.run]
        for run_id in changed:
            known[run_id] = self._read(run_id, present)
        if not changed and known.keys() == self._known.keys() and self._answer[0]:
            return
        self._known = {run_id: known[run_id] for run_id in shown}
        numbers = write.numbers(self._project)
        for run_id, each in self._known.items():
            each.read.row["number"] = numbers.get(run_id)
        found = sorted(
            (each.read.row for each in self._known.values()),
            key=lambda row: row.get("created", ""),
            reverse=True,
        )
        left_out = 0 if self._chosen else len(ids) - len(shown)
        self._main = {**write.main_data(self._project, found, left_out), "live": True}
        text = in_script(self._main)
        # The time of making is not part of the state.
        tag = hashlib.sha256(in_script([found, left_out])).hexdigest()[:32]
        self._answer = (f'"{tag}"', text)

    def _read(self, run_id: str, present: Sequence[Run]) -> _Known:
        paths = RunPaths.of(self._project, run_id)
        state = _state(paths, is_live=True)
        revision = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        try:
            run = folders.read(paths)
        except TargetError as error:
            state = (*state[:-1], ("",))
            return _Known(state, None, ReadRun({**rows.broken(run_id, listing.reason_of(error))}, [], []))
        if run.status in FINAL:
            state = (*state[:-1], ("",))
        began = time.monotonic()
        read = read_run(paths, run, points_of([*present, run]))
        took = time.monotonic() - began
        read.row["revision"] = revision
        return _Known(state, run, read, began + _READING * took)


def _state(paths: RunPaths, *, is_live: bool) -> _State:
    """What changes when a file of the run does; of a live one, also when other loggers write."""
    found: list[tuple[object, ...]] = []
    for path in (paths.record, paths.metrics, paths.tags, paths.note, paths.stdout, paths.stderr):
        try:
            status = os.lstat(path)
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return (*found, (live_outputs.state(paths) if is_live else "",))
