"""Folders and files of a run on this machine: what it shares, what it has printed, what it brings home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import TargetError, UsageError
from amlexec.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.history import RunPaths
    from amlexec.model import ComputeTarget, Plan, Project

__all__ = ["bring_home", "check_out", "hand_on", "no_script", "shared_folder"]

_CHUNK = 1 << 18


def shared_folder(project: Project, target: ComputeTarget) -> Path | None:
    """The folder that all runs of a project share on a target, made where it is missing; None for none.

    Raises:
        TargetError: it can't be made.
    """
    if not (folder := target.shared_folder(project)):
        return None
    shared = Path(folder)
    try:
        shared.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"nativeSharedDirectory: {shared} can't be made: {error.strerror}",
            where=str(target.place),
            hint="name a folder that you may write to, or remove the key",
        ) from None
    return shared


def check_out(project: Project, paths: RunPaths, plan: Plan, tree: str) -> None:
    """Write the snapshot into the run's own copy of the project.

    Raises:
        UsageError: the script is not part of it.
    """
    from amlexec.snapshots import snapshot

    snapshot.checkout(project, tree, paths.checkout)
    if not (paths.checkout / plan.script).is_file():
        raise no_script(project, plan)


def no_script(project: Project, plan: Plan) -> UsageError:
    """The error of a script that the snapshot does not have."""
    return UsageError(
        f"the script {plan.script!r} is not part of the snapshot: an ignore rule leaves it out",
        where=project.root,
        hint="look at .amlignore, or where there is none, .gitignore",
    )


def hand_on(path: Path, position: int, sink: Callable[[bytes], object]) -> int:
    """Hand on what a log has after `position`; return how far it was read.

    Raises:
        OSError: it can't be read, or is no file.
    """
    try:
        with open_regular(path, follow=False) as file:
            file.seek(position)
            while chunk := file.read(_CHUNK):
                sink(chunk)
                position += len(chunk)
    except FileNotFoundError:
        pass  # nothing has been written yet
    return position


def bring_home(made: Path, home: Path) -> None:
    """Move the folder `made` to `home`; what is there already stays beside it. Twice is harmless."""
    if made.is_symlink() or not made.is_dir():
        return
    if home.exists():
        # Uploads of the metric logger, or half of an earlier move.
        _merge(made, home)
    else:
        made.rename(home)


def _merge(folder: Path, into: Path) -> None:
    for entry in list(os.scandir(folder)):
        there = into / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and there.is_dir() and not there.is_symlink():
            _merge(Path(entry.path), there)
            continue
        if there.is_dir() and not there.is_symlink():
            # A folder was uploaded under the name of a file that the script wrote: both are kept.
            there = into / f"{entry.name}.file"
        elif is_folder and (there.exists() or there.is_symlink()):
            there.rename(into / f"{entry.name}.uploaded")
        Path(entry.path).rename(there)
    folder.rmdir()
