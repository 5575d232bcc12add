"""Many runs of one target at once: their states in one call, and their withdrawal."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from amlexec import kinds, locks
from amlexec.errors import TargetError
from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.runs import lifecycle
from amlexec.targets import slurm_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.history.record import Run
    from amlexec.targets.slurm import SlurmTarget
    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = ["by_target", "states", "target_of_many", "withdraw"]

_FEWEST = 2


def by_target(runs: Iterable[Run]) -> list[list[Run]]:
    """The unfinished runs of each target that tells the states of many in one call, if it has several."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.status not in FINAL and kinds.of(run.target_kind).has_many_runs:
            found.setdefault(run.target, []).append(run)
    return [group for group in found.values() if len(group) >= _FEWEST]


def target_of_many(project: Project, run: Run) -> SlurmTarget:
    """The target of a run, whose kind `has_many_runs`. Raises as `lifecycle.target_of_run` does."""
    return cast("SlurmTarget", lifecycle.target_of_run(project, run))


def states(project: Project, runs: Sequence[Run]) -> dict[str, State]:
    """The states by run id of runs of one target; without those that it does not know.

    They can be passed to `lifecycle.refresh` as fresh ones. Raises as `Target.state` does.
    """
    if not runs:
        return {}
    paths = [RunPaths.of(project, run.run_id) for run in runs]
    return slurm_states.of_target(project, runs[0].target, paths)


def withdraw(project: Project, target: SlurmTarget, run_ids: Sequence[str]) -> set[str]:
    """Remove those of the runs whose script has not begun, with their records; it never begins. Their ids.

    Raises:
        TargetError: their target can't be reached, or a record can't be removed.
    """
    answers = target.withdraw(run_ids)
    removed = set()
    for run_id in run_ids:
        paths = RunPaths.of(project, run_id)
        if answers.get(run_id) != "gone" or not paths.folder.exists():
            continue
        lock = locks.take(str(paths.lock))
        if lock is None:
            raise TargetError(f"another process has the lock of the run {run_id}")
        try:
            run = folders.read(paths)
            if run.status not in FINAL and run.start_time_utc is None:
                folders.discard(paths)
                removed.add(run_id)
        finally:
            lock.release()
    return removed
