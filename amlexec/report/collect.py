"""Read everything that the page shows of a project's runs, on all processors if there is much."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.history import notes, tags
from amlexec.history.paths import RunPaths
from amlexec.report import rows
from amlexec.report.curves import Curve, RunCurves, curves_of
from amlexec.report.details import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["ReadRun", "budget_of", "points_of", "read_run", "read_runs"]

_POINTS = 1_200_000
"""Points of all curves on a page: 7 MB, before base64."""
_FEWEST, _MOST = 32, 2_000
"""Points of a curve."""
_EXPECTED_CURVES = 20
"""Of a run whose record does not have its metrics yet."""
_WORTH_PROCESSES = 16 << 20
"""Bytes of metrics that take longer to read than processes to start."""
_ALL_PREVIEWS = 3 << 20
_LONGEST_NOTE = 4_000


class ReadRun(NamedTuple):
    """A run as it is on the page."""

    row: dict[str, Any]
    curves: list[Curve]
    tables: list[dict[str, Any]]


def points_of(runs: Sequence[Run]) -> int:
    """The most points of a curve on a page with these runs."""
    curves = sum(len(run.metrics) or _EXPECTED_CURVES for run in runs)
    return max(_FEWEST, min(_MOST, _POINTS // max(1, curves)))


def budget_of(count: int) -> Budget:
    """What the details of each of so many runs may take."""
    log = max(1_000, min(32_000, 3_000_000 // max(1, count)))
    return Budget(log=log, image=1 << 20, text=32_000, total=_ALL_PREVIEWS)


def read_run(paths: RunPaths, run: Run, most: int) -> ReadRun:
    """A run's row and curves. What can't be read counts as absent, and the row says so."""
    problems: list[str] = []
    logged = RunCurves({}, [], {}, {}, [])
    marks: dict[str, str] = {}
    note = ""
    try:
        logged = curves_of(paths.metrics, most)
    except OSError as error:
        problems.append(f"metrics.jsonl can't be read: {error.strerror or error}")
    try:
        marks = tags.read(paths)
        note = notes.read(paths)
        note = note if len(note) <= _LONGEST_NOTE else f"{note[:_LONGEST_NOTE]}…"
    except OSError as error:
        problems.append(f"the tags or the note can't be read: {error.strerror or error}")
    row = {**rows.row(run, logged), "tags": marks, "note": note, "problems": problems}
    return ReadRun(row, logged.curves, logged.tables)


def read_runs(project: Project, runs: Sequence[Run], most: int) -> list[ReadRun]:
    """The rows and curves of runs, in their order."""
    work = [(RunPaths.of(project, run.run_id), run, most) for run in runs]
    processes = min(os.cpu_count() or 1, 8)
    if processes < 2 or len(work) < 2 or not _is_much(work):
        return [read_run(*each) for each in work]
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(read_run, *zip(*work, strict=True), chunksize=max(1, len(work) // 64)))


def _is_much(work: Sequence[tuple[RunPaths, Run, int]]) -> bool:
    total = 0
    for paths, _, _ in work:
        try:
            total += paths.metrics.lstat().st_size
        except OSError:
            continue
        if total > _WORTH_PROCESSES:
            return True
    return False
