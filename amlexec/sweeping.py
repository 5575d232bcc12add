"""What processes that were killed have left behind: containers of runs that are over, half-made folders."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import history, locks, uncollected
from amlexec.errors import TargetError
from amlexec.files import remove_tree
from amlexec.history import FINAL, RunPaths

if TYPE_CHECKING:
    from amlexec.model import Project
    from amlexec.targets.docker import DockerTarget

__all__ = ["containers", "folders"]

_HALF_MADE = re.compile(r"\.new-(\d+)-[0-9a-f]+")


def containers(project: Project, target: DockerTarget) -> list[str]:
    """Remove this project's containers whose run is over, or whose folder is gone; the runs they were of.

    Raises:
        TargetError: the engine can't be asked.
    """
    found = target.containers()
    over = {run_id: ids for run_id, ids in found.items() if _is_over(RunPaths.of(project, run_id))}
    return sorted(run_id for run_id, ids in over.items() if target.remove(ids))


def _is_over(paths: RunPaths) -> bool:
    if not paths.folder.exists():
        return True
    try:
        run = history.read(paths)
        # One whose outputs could not all be brought home may be the only place that has them.
        return run.status in FINAL and not uncollected.is_kept(run)
    except TargetError:
        return False  # its record is damaged, which says nothing about the run


def folders(project: Project) -> list[str]:
    """Remove folders of runs that a process began to make and did not live to finish; their names."""
    parent = Path(project.state, "runs")
    gone = []
    for folder in sorted(parent.glob(".new-*")):
        match = _HALF_MADE.fullmatch(folder.name)
        if match is None or _lives(int(match[1])) or _is_held(RunPaths(folder)):
            continue
        remove_tree(folder)
        gone.append(folder.name)
    return gone


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _is_held(paths: RunPaths) -> bool:
    """Whether a process holds its lock: one on another machine too, whose number says nothing here."""
    if not paths.lock.exists():
        return False
    held = locks.take(str(paths.lock))
    if held is None:
        return True
    held.release()
    return False
