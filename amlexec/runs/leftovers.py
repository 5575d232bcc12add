"""Remove what killed processes left behind: containers of finished runs, unfinished folders and files."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from amlexec import locks, temporaries
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.history import uncollected
from amlexec.history.folders import read
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.targets.docker import DockerTarget
    from amlexec.values import Project

__all__ = ["containers", "files", "folders", "left_by_its_writers", "of_run", "over_containers", "unfinished"]

_OWN_SWEEPERS = {"runs", "snapshots.git"}
_HALF_MADE = re.compile(r"\.new-(\d+)-[0-9a-f]+")


def containers(project: Project, target: DockerTarget) -> list[str]:
    """Remove this project's containers whose run has ended or has no folder any more; the ids of the runs.

    Raises:
        TargetError: the engine can't be asked.
    """
    over = over_containers(project, target)
    return sorted(run_id for run_id, ids in over.items() if target.remove(ids))


def over_containers(project: Project, target: DockerTarget) -> dict[str, list[str]]:
    """The containers, by run id, whose run has ended or has no folder any more. Raises as `containers`."""
    found = target.containers()
    return {run_id: ids for run_id, ids in found.items() if _is_over(RunPaths.of(project, run_id))}


def _is_over(paths: RunPaths) -> bool:
    if not paths.folder.exists():
        return True
    try:
        run = read(paths)
        # If not all outputs were collected, the container may have the only copy.
        return run.status in FINAL and not uncollected.is_kept(run)
    except TargetError:
        return False  # a damaged record does not mean that the run has ended


def folders(project: Project) -> list[str]:
    """Remove run folders that a killed process left unfinished; their names."""
    gone = unfinished(project)
    for folder in gone:
        remove_tree(folder)
    return [folder.name for folder in gone]


def unfinished(project: Project) -> list[Path]:
    """Run folders that a killed process left unfinished."""
    found = []
    for folder in sorted(Path(project.state, "runs").glob(".new-*")):
        match = _HALF_MADE.fullmatch(folder.name)
        if match is not None and not temporaries.lives(int(match[1])) and not _is_held(RunPaths(str(folder))):
            found.append(folder)
    return found


def files(project: Project) -> int:
    """Remove the project's files that a killed process left half-written; how many."""
    gone = temporaries.sweep(Path(project.root, "aml_config"))
    state = Path(project.state)
    for folder in (state, *(entry for entry in state.glob("*") if entry.name not in _OWN_SWEEPERS)):
        if folder.is_dir() and not folder.is_symlink():
            gone += temporaries.sweep(folder)
    for folder in (state / "runs").glob("[!.]*"):
        gone += of_run(RunPaths(str(folder)))
    return gone


def of_run(paths: RunPaths) -> int:
    """Remove half-written files that killed processes left in a run's folder; how many.

    If the run has ended and its lock is free, no process on any machine writes there any more.
    """
    gone = 0
    with contextlib.suppress(OSError, TargetError):
        if read(paths).status in FINAL and (lock := locks.take(str(paths.lock))) is not None:
            try:
                gone = left_by_its_writers(paths)
            finally:
                lock.release()
    return gone + temporaries.sweep(paths.folder)


def left_by_its_writers(paths: RunPaths) -> int:
    """Remove all half-written files of a finished run; how many. The caller holds its lock."""
    left = [entry for entry in _entries(paths.control) if entry.name.endswith(".new")]
    for entry in _entries(paths.folder):
        name = entry.name
        is_record = name.startswith(".run.json.") and name.endswith(".new")
        is_log = name.startswith(".std") and name.endswith(".log.new")
        # The index with which git has made the copy of the project.
        if is_record or is_log or name.startswith(f"{paths.checkout.name}.index"):
            left.append(entry)
    gone = [entry.path for entry in left if entry.is_file() or entry.is_symlink()]
    for path in gone:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - text
    return len(gone)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _is_held(paths: RunPaths) -> bool:
    """Whether a process holds its lock; it may be on another machine, so its pid does not help."""
    if not paths.lock.exists():
        return False
    lock = locks.take(str(paths.lock))
    if lock is None:
        return True
    lock.release()
    return False
