"""Folders and files of a run on this machine: what it shares, what it has printed, what it brings home."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import TargetError, UsageError
from amlexec.files import open_regular, remove_tree
from amlexec.targets import beneath

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.history.paths import RunPaths
    from amlexec.model import ComputeTarget, Plan, Project

__all__ = [
    "bring_home",
    "check_out",
    "hand_on",
    "make_outputs",
    "no_script",
    "remote_shared_folder",
    "shared_folder",
]

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


def remote_shared_folder(project: Project, target: ComputeTarget, home: str) -> str:
    """The same of a machine over SSH, where the user has the folder `home`; "" for none. It is not made.

    What is relative is relative to the home: a machine there knows no folder of the project.
    """
    shared = target.native_shared_directory
    if not shared:
        return ""
    whole = home + shared[1:] if shared == "~" or shared.startswith("~/") else shared
    whole = whole if whole.startswith("/") else f"{home}/{whole}"
    return f"{whole.rstrip('/')}/{project.name}"


def check_out(project: Project, paths: RunPaths, plan: Plan, tree: str) -> None:
    """Write the snapshot into the run's own copy of the project, and make its folder for outputs.

    Raises:
        UsageError: the script is not part of it.
    """
    from amlexec.snapshots import take as snapshot

    snapshot.checkout(project, tree, paths.checkout)
    if not (paths.checkout / plan.script).is_file():
        raise no_script(project, plan)
    make_outputs(paths.checkout)


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


def make_outputs(checkout: Path) -> None:
    """Make the folder `outputs` that every script finds, unless the snapshot has something of that name."""
    with contextlib.suppress(FileExistsError):
        (checkout / "outputs").mkdir()


def bring_home(made: Path, home: Path) -> None:
    """Move the folder `made` to `home`; what is there already stays beside it. Idempotent.

    An empty folder stays where it is.

    Raises:
        OSError: it can't be written here.
    """
    if made.is_symlink() or not made.is_dir():
        return
    with os.scandir(made) as within:
        if next(within, None) is None:
            return
    if home.is_symlink():
        home.unlink()  # a link holds nothing, and where it leads is not to be written to
    if not home.exists():
        os.chmod(made, made.stat().st_mode & 0o777 | 0o700)  # noqa: PTH101 - or it could not be moved
        made.rename(home)
        return
    # Uploads of the metric logger, or half of an earlier move.
    source, target = os.open(made, beneath.FOLDER), os.open(home, beneath.FOLDER)
    try:
        for at, folder, entries in beneath.walk(source):
            if isinstance(folder, FileNotFoundError):
                continue  # it was moved as a whole
            if isinstance(folder, OSError):
                raise folder
            with beneath.opened(target, at) as into:
                for entry in entries:
                    _move(entry, folder, into)
    finally:
        os.close(source)
        os.close(target)
    remove_tree(made)


def _move(entry: os.DirEntry[str], folder: int, into: int) -> None:
    is_folder, name = entry.is_dir(follow_symlinks=False), entry.name
    try:
        there = os.stat(name, dir_fd=into, follow_symlinks=False).st_mode
    except FileNotFoundError:
        there = 0
    if stat.S_ISDIR(there):
        if is_folder:
            return  # what is in it comes next
        # A folder was uploaded under the name of a file that the script wrote: both are kept.
        name += ".file"
    elif is_folder and there:
        os.rename(name, f"{name}.uploaded", src_dir_fd=into, dst_dir_fd=into)
    os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=into)
