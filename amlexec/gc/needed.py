"""The snapshots and environments that something needs at this moment.

They are read again just before something is removed: meanwhile a run or a sweep may have begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.gc import declared, run_facts, sweep_items

if TYPE_CHECKING:
    from amlexec.model import Project

__all__ = ["needed_digests", "needed_trees"]


def needed_digests(project: Project) -> set[str]:
    """The environments that runs, run configurations, and sweeps that go on need."""
    digests = {run.digest for run in run_facts.read_all(project)}
    digests.update(*declared.environments(project).values(), sweep_items.read(project, {}).digests)
    return digests - {""}


def needed_trees(project: Project) -> set[str]:
    """The snapshots that runs, and sweeps that go on, need."""
    trees = {run.tree for run in run_facts.read_all(project)}
    return trees.union(sweep_items.read(project, {}).trees) - {""}
