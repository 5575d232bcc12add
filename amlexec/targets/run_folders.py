"""A run's local folders and files: the shared folder, the checkout, logs and outputs."""

from __future__ import annotations

import contextlib
import os
import stat

from amlexec.errors import TargetError, UsageError
from amlexec.files import open_regular
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.values import ComputeTarget, Plan, Project

__all__ = [
    "bring_home",
    "check_out",
    "checking_out",
    "hand_on",
    "incoming",
    "make_outputs",
    "no_script",
    "remote_shared_folder",
    "shared_folder",
]

# ruff: noqa: PTH102, PTH103, PTH113 - a submission needs no pathlib

_CHUNK = 1 << 18


def shared_folder(project: Project, target: ComputeTarget) -> str:
    """The folder that all runs of a project share on a target, created if missing; "" for none.

    Raises:
        TargetError: it can't be created.
    """
    if not (shared := target.shared_folder(project)):
        return ""
    try:
        os.makedirs(shared, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"nativeSharedDirectory: {shared} can't be made: {error.strerror}",
            where=str(target.place),
            hint="name a folder that you may write to, or remove the key",
        ) from None
    return shared


def remote_shared_folder(project: Project, target: ComputeTarget, home: str) -> str:
    """The same on a machine over SSH with the home folder `home`; "" for none. Does not create it.

    A relative path is relative to the home folder, since the machine has no folder of the project.
    """
    shared = target.native_shared_directory
    if not shared:
        return ""
    whole = home + shared[1:] if shared == "~" or shared.startswith("~/") else shared
    whole = whole if whole.startswith("/") else f"{home}/{whole}"
    return f"{whole.rstrip('/')}/{project.name}"


def check_out(project: Project, paths: RunPaths, plan: Plan, tree: str) -> None:
    """Write the snapshot into the run's own copy of the project, and create its folder for outputs.

    Raises:
        UsageError: the snapshot does not contain the script.
    """
    with checking_out(project, paths, plan, tree):
        pass


@contextlib.contextmanager
def checking_out(project: Project, paths: RunPaths, plan: Plan, tree: str) -> Iterator[None]:
    """Let git write that copy during the block: at its end it is there. Raises as `check_out` does."""
    from amlexec.history.paths import PROJECT
    from amlexec.snapshots import read as snapshots

    checkout = paths.at(PROJECT)
    with snapshots.checking_out(project, tree, checkout):
        yield
    if not os.path.isfile(f"{checkout}/{plan.script}"):
        raise no_script(project, plan)
    make_outputs(checkout)


def no_script(project: Project, plan: Plan) -> UsageError:
    """The error for a script that is not in the snapshot."""
    return UsageError(
        f"the script {plan.script!r} is not part of the snapshot: an ignore rule excludes it",
        where=project.root,
        hint="check .amlignore, or .gitignore if there is none",
    )


def hand_on(path: Path, position: int, sink: Callable[[bytes], object]) -> int:
    """Pass on a log's content after `position`; returns the new position.

    Raises:
        OSError: it can't be read, or is not a file.
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


@contextlib.contextmanager
def incoming(paths: RunPaths) -> Iterator[Path]:
    """An empty folder for what is downloaded of a run; it is removed at the end of the block."""
    from amlexec.file_trees import remove_tree

    folder = paths.folder / "incoming"
    remove_tree(folder)  # of a killed process
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove_tree(folder)


def make_outputs(checkout: str | Path) -> None:
    """Create the folder `outputs` for the script, unless the snapshot has an entry of that name."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{checkout}/outputs")


def bring_home(made: Path, home: Path) -> None:
    """Move the content of the folder `made` to `home`, beside what is already there. Idempotent.

    An empty folder is not moved.

    Raises:
        OSError: it can't be written.
    """
    if made.is_symlink() or not made.is_dir():
        return
    with os.scandir(made) as within:
        if next(within, None) is None:
            return
    if home.is_symlink():
        home.unlink()  # never write through a link
    if not home.exists():
        os.chmod(made, made.stat().st_mode & 0o777 | 0o700)  # noqa: PTH101 - otherwise it can't be moved
        made.rename(home)
        return
    from amlexec.file_trees import remove_tree
    from amlexec.targets import beneath

    # `home` has uploads of the metric logger, or part of an interrupted move.
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
        mode = os.stat(name, dir_fd=into, follow_symlinks=False).st_mode
    except FileNotFoundError:
        mode = 0
    if stat.S_ISDIR(mode):
        if is_folder:
            return  # its content comes next
        # A folder was uploaded under the name of a file that the script wrote: keep both.
        name += ".file"
    elif is_folder and mode:
        os.rename(name, f"{name}.uploaded", src_dir_fd=into, dst_dir_fd=into)
    os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=into)
