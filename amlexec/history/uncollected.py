"""What of a run's outputs was not brought home: how it is recorded, and how it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.model import NotCollected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.history.record import Run

__all__ = ["bounded", "is_kept", "lines"]

_MOST = 100
_MOST_TOLD = 5
_LONGEST = 1000
"""Characters of a path, and of a reason."""


def bounded(missing: Iterable[NotCollected]) -> tuple[NotCollected, ...]:
    """What a record says: each path once, the first 100; an entry without a path says how many more."""
    by_path = {one.path: one for one in reversed(list(missing))}
    every = sorted(by_path.values(), key=lambda one: (not one.kept, one.path))
    told = [NotCollected(_cut(one.path), _cut(one.reason), one.kept) for one in every[:_MOST]]
    if rest := every[_MOST:]:
        told.append(NotCollected("", f"and {len(rest)} more", any(one.kept for one in rest)))
    return tuple(told)


def is_kept(run: Run) -> bool:
    """Whether the run's copy of the project still has something that was not brought home."""
    return any(one.kept for one in run.not_collected)


def lines(run: Run) -> list[str]:
    """What to tell the user, and what to do about it."""
    named = [one for one in run.not_collected if one.path]
    told = [f"{one.path} was not brought home: {one.reason}" for one in named[:_MOST_TOLD]]
    if more := len(named) - _MOST_TOLD if len(named) > _MOST_TOLD else 0:
        rest = "".join(f" {one.reason}" for one in run.not_collected if not one.path)
        told.append(f"{more} more files were not brought home{rest}: amlexec history info -r {run.run_id}")
    if is_kept(run) and run.tracked:
        told.append(
            f"the run's copy of the project is kept: amlexec experiment return -r {run.run_id} --overwrite "
            f"tries again, amlexec experiment clean -r {run.run_id} removes it"
        )
    return told


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
