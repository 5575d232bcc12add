"""Remove runs whose script never began, so that what they were for can be started again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from amlexec import locks
from amlexec.errors import TargetError
from amlexec.history.folders import discard, read
from amlexec.history.paths import check
from amlexec.history.record import FINAL, Run
from amlexec.runs.lifecycle import NEVER_BEGAN, target_of_run

if TYPE_CHECKING:
    from amlexec.history.paths import RunPaths
    from amlexec.targets.target import Target
    from amlexec.values import Project

__all__ = ["withdraw"]

_STARTING_TIMEOUT_S = 10.0


def withdraw(project: Project, paths: RunPaths) -> bool:
    """Remove a run whose script never began, with its record; whether it was such a run.

    Its script can't begin afterwards: its target is asked to cancel it first.

    Raises:
        TargetError: its target can't be reached, or another process is starting the run.
    """
    check(paths)
    until = time.monotonic() + _STARTING_TIMEOUT_S
    while (lock := locks.take(str(paths.lock))) is None and time.monotonic() < until:
        # The supervisor of a run has the lock until it has written that it started.
        time.sleep(0.02)
    if lock is None:
        raise TargetError(f"another process is starting the run {paths.folder.name}")
    try:
        run = read(paths)
        target = target_of_run(project, run)
        if not _never_began(paths, run, target):
            return False
        target.release(paths)
        target.clean(paths)
        discard(paths)
        return True
    finally:
        lock.release()


def _never_began(paths: RunPaths, run: Run, target: Target) -> bool:
    """Whether the script never began, and never will. The caller holds the run's lock."""
    if run.start_time_utc is not None or run.exit_code is not None:
        return False
    if run.status in FINAL:
        return run.status == "Failed" or (run.status == "Lost" and run.reason == NEVER_BEGAN)
    if run.status == "Preparing":
        return True  # nothing starts before the status changes
    # The request to start may still be on its way to another machine.
    return target.state(paths).phase == "new" and target.stop(paths, 0).phase == "new"
