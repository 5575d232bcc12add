"""The snapshots and environments that something needs at this moment.

They are read again just before something is removed: meanwhile a run or a sweep may have begun.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from amlexec import in_use
from amlexec.environments import last_prepared
from amlexec.gc import declared, run_facts, sweep_items
from amlexec.snapshots.prune import BUSY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.values import Project

__all__ = ["forget", "needed_digests", "needed_locks", "needed_trees", "unless_begun", "unless_needed"]

_CLAIM_TIMEOUT_S = 5.0


@contextlib.contextmanager
def unless_begun(project: Project) -> Iterator[str]:
    """Why what nothing names must stay now; "" if it may go, and then nothing begins to use it."""
    with in_use.unclaimed(project, _CLAIM_TIMEOUT_S) as is_ours:
        yield "" if is_ours else BUSY


@contextlib.contextmanager
def unless_needed(project: Project, digest: str) -> Iterator[str]:
    """Why an environment must not be removed now; "" if it may be, and then nothing begins to use it."""
    with unless_begun(project) as why:
        yield why or ("something needs it by now" if digest in needed_digests(project) else "")


def forget(project: Project, digest: str) -> None:
    """Record that an environment was removed."""
    last_prepared.forget_removed(project, [digest])


def needed_digests(project: Project) -> set[str]:
    """The environments that runs, run configurations, and sweeps that go on need."""
    digests = {run.digest for run in run_facts.read_all(project)}
    digests.update(*declared.environments(project).values(), sweep_items.read(project, {}).digests)
    return digests - {""}


def needed_locks(project: Project) -> set[str]:
    """The resolved locks that runs name."""
    return {run.lock for run in run_facts.read_all(project)} - {""}


def needed_trees(project: Project) -> set[str]:
    """The snapshots that runs, and sweeps that go on, need."""
    trees = {run.tree for run in run_facts.read_all(project)}
    return trees.union(sweep_items.read(project, {}).trees) - {""}
