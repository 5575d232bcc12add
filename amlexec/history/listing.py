"""The runs of a project by name: the newest ones, and their records, readable or not."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.history import folders, order
from amlexec.history.paths import RunPaths
from amlexec.history.record import is_run_id, without_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amlexec.history.record import Run
    from amlexec.model import Project

__all__ = ["BROKEN", "NOT_A_RUN_ID", "Broken", "newest", "read", "reason_of"]

BROKEN = "broken"
"""The status of what can't be read as a run."""
NOT_A_RUN_ID = "this is not a run: its name is not a run id"


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
    names = folders.names(project)

    def age(name: str) -> tuple[int, str]:
        return order.milliseconds(name), name

    if limit is None or limit >= len(names):
        return sorted(names, key=age, reverse=True)
    return heapq.nlargest(limit, names, key=age)


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
