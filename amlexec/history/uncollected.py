"""Outputs of a run that were not collected: their form in a record, and messages about them."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.history.record import Run

__all__ = ["bounded", "is_kept", "lines"]

_MOST = 100
_MOST_LISTED = 5
_LONGEST = 1000
"""Characters of a path, and of a reason."""


def bounded(missing: Iterable[NotCollected]) -> tuple[NotCollected, ...]:
    """The entries for a record: without duplicates, the first 100, and one without a path for the rest."""
    by_path = {each.path: each for each in reversed(list(missing))}
    every = sorted(by_path.values(), key=lambda each: (not each.kept, each.path))
    entries = [NotCollected(_cut(each.path), _cut(each.reason), each.kept) for each in every[:_MOST]]
    if rest := every[_MOST:]:
        entries.append(NotCollected("", f"and {len(rest)} more", any(each.kept for each in rest)))
    return tuple(entries)


def is_kept(run: Run) -> bool:
    """Whether the run's copy of the project still has outputs that were not collected."""
    return any(output.kept for output in run.not_collected)


def lines(run: Run) -> list[str]:
    """Messages for the user, with what to do."""
    named = [output for output in run.not_collected if output.path]
    messages = [f"{output.path} was not collected: {output.reason}" for output in named[:_MOST_LISTED]]
    if more := len(named) - _MOST_LISTED if len(named) > _MOST_LISTED else 0:
        rest = "".join(f" {output.reason}" for output in run.not_collected if not output.path)
        messages.append(f"{more} more files were not collected{rest}: amlexec history info -r {run.run_id}")
    if is_kept(run) and run.tracked:
        messages.append(
            f"the run's copy of the project is kept: amlexec experiment return -r {run.run_id} --overwrite "
            f"tries again, amlexec experiment clean -r {run.run_id} removes it"
        )
    return messages


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
