"""Read the files of runs into rows of the index."""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import stat
import threading
from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.history import folders, index_changes, live_outputs, notes, tags
from amlexec.history.index_schema import Row, broken_row, row_of
from amlexec.history.listing import reason_of
from amlexec.history.paths import RUNS, RunPaths
from amlexec.history.record import FINAL, NOT_A_RUN_ID, is_run_id, without_series
from amlexec.history.record_checks import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["rows_of"]

_SMALL = 1 << 20
_MANY = 2000
"""Fewer runs are read by this process alone."""
_PIECE = 200
_MOST_READERS = 4


def rows_of(project: Project, names: Sequence[str]) -> Iterator[tuple[Row, str, bool]]:
    """The rows of these runs, with what is seen of their files, and whether every later write is noticed.

    Many are read by several processes: reading a record is slower than writing its row.
    """
    if len(names) < _MANY or threading.active_count() > 1:  # a forked process would only have this thread
        yield from _read(project, names)
        return
    count = min(_MOST_READERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    pieces = [names[start : start + _PIECE] for start in range(0, len(names), _PIECE)]
    readers = [_Reader(project, pieces[place::count]) for place in range(count)] if count > 1 else []
    try:
        for place, piece in enumerate(pieces):
            found = readers[place % count].piece() if readers else None
            yield from _read(project, piece) if found is None else found
    finally:
        for reader in readers:
            reader.close()


class _Reader:
    """A process that reads some pieces of the runs, and sends them."""

    def __init__(self, project: Project, pieces: Sequence[Sequence[str]]) -> None:
        reading, writing = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            # Whatever happens, this copy of the process ends here: what is missing is read by the other one.
            try:
                gc.disable()  # it reads and ends: nothing that it makes has to be found
                os.close(reading)
                with os.fdopen(writing, "wb") as pipe:
                    for piece in pieces:
                        marshal.dump(
                            [(*row, stamp, sure) for row, stamp, sure in _read(project, piece)], pipe
                        )
                        pipe.flush()
            finally:
                os._exit(0)
        os.close(writing)
        self._pipe = os.fdopen(reading, "rb")

    def piece(self) -> list[tuple[Row, str, bool]] | None:
        """The next piece; None if the process has ended without it."""
        try:
            return [(Row._make(parts[:-2]), parts[-2], parts[-1]) for parts in marshal.load(self._pipe)]  # noqa: S302
        except (EOFError, ValueError, TypeError):
            return None

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process, 0)


def _read(project: Project, names: Sequence[str]) -> Iterator[tuple[Row, str, bool]]:
    runs = f"{project.state}/{RUNS}"
    descriptor = os.open(runs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            if not is_run_id(name):
                yield broken_row(name, NOT_A_RUN_ID), "", True
                continue
            # Before the files are read: what is written meanwhile is read the next time.
            stamp = index_changes.stamp(descriptor, name, live=True)
            row, outputs = _row(descriptor, RunPaths(f"{runs}/{name}"), stamp)
            if row.is_final:
                stamp = stamp.without_live()
            yield row, stamp.text + outputs, stamp.is_settled
    finally:
        os.close(descriptor)


def _row(folder: int, paths: RunPaths, stamp: index_changes.Stamp) -> tuple[Row, str]:
    """The row of a run, and, of one that has not ended, the state of its outputs."""
    outputs = ""
    try:
        run = _quickly(folder, paths.folder.name) if stamp.is_folder else None
        run = without_series(run or folders.read(paths))
        if run.status not in FINAL:
            outputs = live_outputs.state(paths)
            live = live_outputs.summary(paths)
            if live.counts:
                run = run._replace(metrics=live.values, metric_counts=live.counts)
        marks = tags.read(paths) if stamp.has_tags else {}
        return row_of(run, marks, notes.read(paths) if stamp.has_note else ""), outputs
    except TargetError as error:
        return broken_row(paths.folder.name, reason_of(error)), ""
    except OSError as error:
        return broken_row(paths.folder.name, f"{error.filename}: {error.strerror}"), ""


def _quickly(folder: int, name: str) -> Run | None:
    """The record of a run; None if anything is unusual about it: then `folders.read` says what."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(f"{name}/run.json", flags, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _SMALL:
                return None
            content = os.read(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        return parsed(content.decode("utf-8", "surrogateescape"), name)
    except (OSError, ValueError):
        return None
