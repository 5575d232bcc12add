"""What processes that were killed have left behind: containers of runs that are over, half-made folders."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import locks, temporaries
from amlexec.errors import TargetError
from amlexec.files import remove_tree
from amlexec.history import uncollected
from amlexec.history.folders import read
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL

if TYPE_CHECKING:
    from amlexec.model import Project
    from amlexec.targets.docker import DockerTarget

__all__ = ["containers", "files", "folders", "left_by_its_writers", "of_run"]

_OWN_SWEEPERS = {"runs", "snapshots.git"}
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
        run = read(paths)
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
        if match is None or temporaries.lives(int(match[1])) or _is_held(RunPaths(folder)):
            continue
        remove_tree(folder)
        gone.append(folder.name)
    return gone


def files(project: Project) -> int:
    """Remove files of the project's that a process began to write and did not live to finish; how many."""
    gone = temporaries.sweep(Path(project.root, "aml_config"))
    state = Path(project.state)
    for folder in (state, *(entry for entry in state.glob("*") if entry.name not in _OWN_SWEEPERS)):
        if folder.is_dir() and not folder.is_symlink():
            gone += temporaries.sweep(folder)
    for folder in (state / "runs").glob("[!.]*"):
        gone += of_run(RunPaths(folder))
    return gone


def of_run(paths: RunPaths) -> int:
    """Remove what writers that were killed have left in a run's folder; how many.

    Where the run is over and nobody holds its lock, nobody writes there any more, on no machine.
    """
    gone = 0
    with contextlib.suppress(OSError, TargetError):
        if read(paths).status in FINAL and (held := locks.take(str(paths.lock))) is not None:
            try:
                gone = left_by_its_writers(paths)
            finally:
                held.release()
    return gone + temporaries.sweep(paths.folder)


def left_by_its_writers(paths: RunPaths) -> int:
    """Remove all half-written files of a run that is over; how many. The caller holds its lock."""
    left = [*paths.folder.glob(".run.json.*.new"), *paths.folder.glob(".std*.log.new")]
    left += [*paths.control.glob("*.new"), *paths.control.glob(".*.new")]
    gone = [path for path in left if path.is_file() or path.is_symlink()]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _is_held(paths: RunPaths) -> bool:
    """Whether a process holds its lock: one on another machine too, whose number says nothing here."""
    if not paths.lock.exists():
        return False
    held = locks.take(str(paths.lock))
    if held is None:
        return True
    held.release()
    return False
