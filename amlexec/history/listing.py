"""The runs of a project by name: the newest ones, and their records, readable or not."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.history import folders, order
from amlexec.history.paths import RunPaths
from amlexec.history.record import NOT_A_RUN_ID, is_run_id, without_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["BROKEN", "Broken", "newest", "newest_of", "read", "reason_of"]

_DIGITS = 13
"""Of a time in milliseconds, from 2001 to 2286."""
BROKEN = "broken"
"""The status of what can't be read as a run."""


class Broken(NamedTuple):
    """Something in the folder of runs that is not a readable run."""

    name: str
    reason: str
    """A sentence."""


def newest(project: Project, limit: int | None = None) -> list[str]:
    """The names in the folder of runs, newest first by the times in them; at most `limit`.

    Raises:
        TargetError: the folder can't be read.
    """
    return newest_of(folders.names(project), limit)


def newest_of(names: Sequence[str], limit: int | None = None) -> list[str]:
    """These names, newest first by the times in them; at most `limit`."""
    if limit is not None and limit < len(names) and _differ_in_time(names):
        return heapq.nlargest(limit, names)
    aged = [(order.milliseconds(name), name) for name in names]
    chosen = sorted(aged, reverse=True) if limit is None else heapq.nlargest(limit, aged)
    return [name for _, name in chosen]


def _differ_in_time(names: Sequence[str]) -> bool:
    """Whether they differ only in their times, which have the same number of digits: most projects' do."""
    prefix, length = names[0][:-_DIGITS], len(names[0])
    return prefix.endswith("_") and all(
        len(name) == length and name.startswith(prefix) and name[-_DIGITS:].isdecimal() for name in names
    )


def read(project: Project, names: Iterable[str]) -> Iterator[Run | Broken]:
    """The records of these runs, with only the last value of each metric."""
    for name in names:
        if not is_run_id(name):
            yield Broken(name, NOT_A_RUN_ID)
            continue
        try:
            yield without_series(folders.read(RunPaths.of(project, name)))
        except TargetError as error:
            yield Broken(name, reason_of(error))


def reason_of(error: TargetError) -> str:
    """Why a record can't be read, in one sentence."""
    return f"{error.message}; {error.hint}" if error.hint else error.message
