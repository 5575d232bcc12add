"""Which runs meet a query, and in which order: from an index that brings itself up to date.

The runs' own files are the truth. The index (`index_file`) only has what queries compare, and what tells that
a file has changed (`index_changes`). Where it can't be used, the runs are read into a temporary one: the
answer is the same.
"""

# ruff: noqa: S608 - values are parameters of the statements

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from amlexec.errors import TargetError
from amlexec.history import folders, index_changes, index_file, live_outputs, query_sql
from amlexec.history.index_file import IndexFile, UnusableError
from amlexec.history.index_readers import rows_of
from amlexec.history.index_rows import Rows
from amlexec.history.index_schema import row_of
from amlexec.history.paths import RUNS, RunPaths
from amlexec.history.record import without_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from amlexec.history.index_rows import Seen
    from amlexec.history.query import Query, SortKey
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["Selection", "bounds_of", "select", "select_among", "unfinished"]

Answer = TypeVar("Answer")
_CHUNK = 1000
"""Runs that are read before they are written."""


class Selection(NamedTuple):
    """The runs that a query selects."""

    names: list[str]
    """The names of their folders, in order."""
    total: int
    """How many meet the condition, with those beyond the limit if they were counted."""


def select(
    project: Project,
    query: Query | None = None,
    sort: Sequence[SortKey] = (),
    limit: int | None = None,
    refresh: Callable[[list[str]], object] | None = None,
    *,
    is_counted: bool = True,
) -> Selection:
    """The runs that meet `query`, sorted; at most `limit`. Without keys the newest run is first.

    Folders that are not readable runs are among them; their status is `broken`. Without `refresh`, the status
    of a run that has not ended is the recorded one: no target is asked. With it, it is called with the names
    of these runs, if there are any, and may write their records. Unless `is_counted`, the total is not known
    if there is a limit; this saves half of the time.

    Raises:
        UsageError: a name in the query means nothing, or several things.
        TargetError: the folder of runs can't be read.
    """
    needs_series = query_sql.needs_series(query, sort)

    def ask(rows: Rows) -> Selection:
        return _selected(rows, query, sort, limit, is_counted=is_counted)

    if refresh is None:
        return _with_index(project, ask, needs_series=needs_series)

    def ask_first(rows: Rows) -> tuple[list[str], Selection | None]:
        names = rows.unfinished()
        return names, None if names else ask(rows)

    unfinished, found = _with_index(project, ask_first, needs_series=needs_series)
    if found is not None:
        return found
    # Not while the index is locked: targets may take long to answer.
    refresh(unfinished)
    return _with_index(project, ask, needs_series=needs_series)


def select_among(
    runs: Iterable[tuple[Run, Mapping[str, str], str]],
    query: Query | None = None,
    sort: Sequence[SortKey] = (),
    limit: int | None = None,
) -> Selection:
    """As `select`, among these runs, each with its tags and its note. Raises UsageError."""
    with index_file.private() as connection:
        rows = Rows(connection)
        rows.begin()
        rows.insert((row_of(without_series(run), tags, note), "", True) for run, tags, note in runs)
        rows.commit()
        return _selected(rows, query, sort, limit, is_counted=False)


def unfinished(project: Project) -> list[str]:
    """The names of the runs that have not ended, by their records. Raises TargetError."""
    return _with_index(project, Rows.unfinished)


def _with_index(project: Project, ask: Callable[[Rows], Answer], *, needs_series: bool = False) -> Answer:
    for is_second_try in (False, True):
        try:
            file = IndexFile(project)
        except (OSError, TargetError):
            break
        try:
            with contextlib.closing(file):
                file.open()
                if is_second_try:
                    file.renew(whatever=True)
                rows = _up_to_date(project, file, needs_series=needs_series)
                return ask(rows)
        except sqlite3.Error:
            continue  # it is damaged, or the disk is full
        except (OSError, UnusableError):
            break
    with index_file.private() as connection:
        rows = Rows(connection)
        _apply(project, rows, _changes(project, rows), needs_series=needs_series)
        return ask(rows)


def bounds_of(project: Project, metric: str, aggregate: str) -> dict[str, float]:
    """The `min`, `max` or `first` number of a metric of each run that has one, by the run's name."""
    return _with_index(project, lambda rows: rows.bounds(metric, aggregate), needs_series=True)


class _Changes(NamedTuple):
    """What has to be read again."""

    folder: str
    """The stamp of the folder of runs; "" if a later write may not change it."""
    changed: list[str]
    removed: list[str]
    journals: dict[str, list[int]]
    is_new: bool
    """Whether the index differs in any of these."""


def _up_to_date(project: Project, file: IndexFile, *, needs_series: bool) -> Rows:
    rows = Rows(file.connection)
    changes = _changes(project, rows)
    if changes.is_new or (needs_series and rows.has_unsummed()):
        _apply(project, Rows(file.write()), changes, needs_series=needs_series)
        file.written()
    return Rows(file.connection)


def _changes(project: Project, rows: Rows) -> _Changes:
    # First the journals: what is named after this is seen the next time.
    journals = index_changes.journals(project)
    before: Mapping[str, list[int]] = rows.meta("journals", {})
    folders.must_be_own(project)
    folder, is_settled = index_changes.folder_stamp(project)
    changed: set[str] = set()
    removed: list[str] = []
    if is_new := rows.meta("folder", "") != folder:
        present, known = set(folders.names(project)), rows.names()
        changed, removed = present - known, sorted(known - present)
    changed |= _written(project, _looked_at(project, rows, before, journals)).difference(removed)
    # A folder that was just written may be written again at what seems the same time.
    is_new = bool(changed or removed or journals != before or (is_new and is_settled))
    return _Changes(folder if is_settled else "", sorted(changed), removed, journals, is_new)


def _looked_at(
    project: Project, rows: Rows, before: Mapping[str, list[int]], journals: Mapping[str, list[int]]
) -> dict[str, Seen]:
    """The runs whose files are looked at."""
    count = rows.count()
    named = index_changes.named_since(project, before, journals)
    found = rows.seen(everything=named is None or count <= index_changes.FEW)
    if count > index_changes.FEW and named is not None:
        found |= rows.seen_of(named)
        found |= rows.seen_between(*index_changes.sample(count))
    return found


def _written(project: Project, seen: Mapping[str, Seen]) -> set[str]:
    """Those whose files are not as they were seen."""
    if not seen:
        return set()
    folder = os.open(Path(project.state, RUNS), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return {
            name
            for name, (stamp, is_live) in seen.items()
            if stamp and _stamp(project, folder, name, is_live=is_live) != stamp
        }
    finally:
        os.close(folder)


def _stamp(project: Project, folder: int, name: str, *, is_live: bool) -> str:
    outputs = live_outputs.state(RunPaths.of(project, name)) if is_live else ""
    return index_changes.stamp(folder, name, live=is_live).text + outputs


def _apply(project: Project, rows: Rows, changes: _Changes, *, needs_series: bool) -> None:
    from amlexec import progress

    rows.begin()
    rows.remove(changes.removed)
    rows.remove(changes.changed)
    # The readers go on while rows are written.
    found, done, total = rows_of(project, changes.changed), 0, len(changes.changed)
    with progress.Late(f"reading {total} runs") as shown:
        while some := list(itertools.islice(found, _CHUNK)):
            rows.insert(some)
            done += len(some)
            shown.at(done, total)
    if needs_series:
        rows.sum_up(project)
    rows.set_meta("folder", changes.folder)
    rows.set_meta("journals", changes.journals)
    rows.commit()


def _selected(
    rows: Rows, query: Query | None, sort: Sequence[SortKey], limit: int | None, *, is_counted: bool
) -> Selection:
    compiler = query_sql.Compiler(rows.kinds_of, rows.similar, time.time())
    condition = compiler.where(query) if query is not None else "1"
    joins, order = compiler.order(sort)
    text = f"SELECT r.name FROM run r{joins} WHERE {condition} ORDER BY {order}"
    names = rows.selected(text if limit is None else f"{text} LIMIT {int(limit)}", compiler.values)
    total = len(names)
    if is_counted and limit is not None and total >= limit:
        total = rows.counted(f"SELECT count(*) FROM run r WHERE {condition}", compiler.values)
    return Selection(names, total)
