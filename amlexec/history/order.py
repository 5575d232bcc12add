"""The order of submits, recorded in a file, because clocks may be set back."""

from __future__ import annotations

import os

from amlexec.files import append, open_regular
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.values import Project

__all__ = ["milliseconds", "newest_first", "note", "submitted"]

_NAME = "submitted"
"""The file with the ids of the runs that were submitted here, in order, one per line."""
_LONGEST = 18
"""Digits of a time in an id."""
_BYTES = 1 << 16
"""How much of its end is read."""


def note(project: Project, run_id: str) -> None:
    """Record that a run was submitted after all others."""
    try:
        append(f"{project.state}/{_NAME}", f"{run_id}\n")
    except OSError:
        return  # the times in the ids have the same order, unless a clock is set back


def newest_first(project: Project, names: Sequence[str]) -> Iterator[str]:
    """Sort run ids: those submitted here first, newest first; then all others, by time.

    Runs that were collected from elsewhere come last, whatever their time.
    """
    remaining = set(names)
    for name in submitted(project):
        if name in remaining:
            remaining.discard(name)
            yield name
    folder = f"{project.state}/runs"
    returned = []
    for name in sorted(remaining, key=milliseconds, reverse=True):
        if os.path.exists(f"{folder}/{name}/control/returned"):  # noqa: PTH110 - a submission needs no pathlib
            returned.append(name)
        else:
            yield name
    yield from returned


def submitted(project: Project) -> list[str]:
    """The newest ids of the file, newest first, with those of removed runs."""
    try:
        with open_regular(f"{project.state}/{_NAME}", follow=False) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _BYTES))
            return file.read().decode("ascii", "replace").split("\n")[::-1]
    except OSError:
        return []


def milliseconds(run_id: str) -> int:
    """The time at the end of the id, in milliseconds; 0 for an id of another form."""
    number = run_id.rpartition("_")[2]
    return int(number) if len(number) <= _LONGEST and number.isdecimal() and number.isascii() else 0
