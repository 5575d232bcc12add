"""RECORD: make the folders of runs, and read and write their records.

A run is a folder `.amlexec/runs/<run id>/`. Its record, `run.json`, exists before anything starts and is
always replaced atomically (temporary file, fsync, rename): a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import os
import re
import stat

from amlexec import __version__, private_folders
from amlexec.errors import TargetError
from amlexec.files import append, read_regular, sync_folder, touch, write_atomically
from amlexec.history import index_changes, order
from amlexec.history.paths import LOCK, RECORD, RUNS, RunPaths
from amlexec.history.record import FINAL, text_of
from amlexec.light_typing import TYPE_CHECKING
from amlexec.locks import Held, share, take, unshare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = [
    "adopt",
    "create",
    "create_many",
    "discard",
    "entries",
    "link",
    "must_be_own",
    "names",
    "project_part",
    "read",
    "release_many",
    "sync_name",
    "write",
    "write_many",
]

# ruff: noqa: PTH102, PTH104, PTH108, PTH110, PTH112, PTH114, PTH120, PTH208 - a submission needs no pathlib

_LARGEST = 256 << 20
"""Bytes of a record. Records of earlier versions have every logged value."""
_WRITERS = 16
"""Threads that write records."""


def create(project: Project, run: Run, milliseconds: int) -> tuple[RunPaths, Run, Held]:
    """Make the folder of a new run with its record, under a unique id.

    The id is `<project>_<epoch ms>`; two submits in one millisecond get two numbers. The folder appears
    atomically, with its lock held: it is made under another name and renamed, which fails if the id is taken.
    After a power loss it may have the other name again: nothing may start before `sync_name`.
    """
    parent, name = f"{project.state}/{RUNS}", project_part(project)
    must_be_own(project)
    beside = _beside(parent)
    held = None
    try:
        os.mkdir(f"{beside}/control", 0o700)
        held = take(RunPaths(beside).at(LOCK))
        assert held is not None, "no other process knows this folder"
        while True:
            named = run._replace(run_id=f"{name}_{milliseconds}")
            write(RunPaths(beside), named)
            place = f"{parent}/{named.run_id}"
            try:
                os.rename(beside, place)
            except OSError:
                if not os.path.exists(place):
                    raise
                milliseconds += 1
                continue
            beside = place
            order.note(project, named.run_id)
            return RunPaths(place), named, held
    except BaseException:
        if held is not None:
            held.release()
        _remove(beside)
        raise


def sync_name(paths: RunPaths) -> None:
    """Let the name of a new run's folder be on the disk when this returns. Raises OSError."""
    sync_folder(os.path.dirname(paths.place))


def create_many(
    project: Project, runs: Sequence[Run], milliseconds: int
) -> tuple[list[tuple[RunPaths, Run]], list[Held]]:
    """Like `create`, for many runs. Their locks are held until `release_many`.

    Their records are not synced to the disk: nothing may start before they are written again, by
    `write_many`.
    """
    parent, name = f"{project.state}/{RUNS}", project_part(project)
    taken = set(entries(project))
    shared = _beside(parent)
    made: list[tuple[RunPaths, Run]] = []
    left = [shared]
    held: list[Held] = []
    try:
        lock = take(f"{shared}/lock")
        assert lock is not None, "no other process knows this folder"
        held.append(lock)
        for run in runs:
            beside = RunPaths(_beside(parent))
            left.append(beside.place)
            os.mkdir(beside.at("control"), 0o700)
            held += share(f"{shared}/lock", [beside.at(LOCK)])
            while True:
                named = run._replace(run_id=f"{name}_{milliseconds}")
                milliseconds += 1
                if named.run_id in taken:
                    continue
                append(beside.at(RECORD), text_of(named))
                place = f"{parent}/{named.run_id}"
                try:
                    os.rename(beside.place, place)
                except OSError:
                    if not os.path.exists(place):
                        raise
                    os.unlink(beside.at(RECORD))
                    continue
                break
            left.pop()
            made.append((RunPaths(place), named))
        sync_folder(parent)
        order.note(project, "\n".join(run.run_id for _, run in made))
    except BaseException:
        for paths, _ in made:
            _remove(paths.place)
        for each in held:
            each.release()
        raise
    finally:
        for folder in left:
            _remove(folder)
    return made, held


def release_many(made: Sequence[tuple[RunPaths, Run]], held: Sequence[Held]) -> None:
    """Release the locks that `create_many` has taken; a run whose folder is gone needs none. Idempotent."""
    if held and held[0].fileno() >= 0:
        locks = (paths.at(LOCK) for paths, _ in made)
        unshare(held[0], [lock for lock in locks if os.path.exists(lock)])
    for lock in held:
        lock.release()


def write_many(made: Sequence[tuple[RunPaths, Run]]) -> None:
    """Like `write`, for many runs."""
    from concurrent.futures import ThreadPoolExecutor

    # A disk syncs several files at once in the time of one.
    with ThreadPoolExecutor(_WRITERS) as writers:
        for done in [writers.submit(write, paths, run) for paths, run in made]:
            done.result()


def adopt(project: Project, run: Run, fill: Callable[[RunPaths], object] = lambda _: None) -> RunPaths:
    """Make the folder of a run that was submitted elsewhere, with its record; keeps an existing folder.

    `fill` adds more files before the folder appears.
    """
    paths = RunPaths.of(project, run.run_id)
    if paths.folder.exists():
        return paths
    beside = RunPaths(_beside(os.path.dirname(paths.place)))
    try:
        beside.control.mkdir(mode=0o700)
        touch(beside.returned)
        write(beside, run)
        fill(beside)
        try:
            beside.folder.rename(paths.folder)
        except OSError:
            if not paths.folder.exists():
                raise
        sync_folder(paths.folder.parent)
    finally:
        if beside.folder.exists():
            _remove(beside.folder)
    return paths


def discard(paths: RunPaths) -> None:
    """Remove the folder of a run with everything in it. For other processes it disappears at once.

    It gets the name of an unfinished folder first, so that a crash leaves one that is cleaned up.
    """
    beside = f"{os.path.dirname(paths.place)}/.new-{os.getpid()}-{os.urandom(4).hex()}"
    os.rename(paths.place, beside)
    _remove(beside)


def _remove(folder: str | Path) -> None:
    from amlexec.file_trees import remove_tree  # a submission does without

    remove_tree(folder)


def project_part(project: Project) -> str:
    """The part of a project's run ids before the last `_`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", project.name).strip("-.")[:60] or "project"


def _beside(parent: str) -> str:
    state = os.path.dirname(parent)
    if not os.path.isdir(parent):
        # Asked in this order: another submission may be making it.
        if os.path.lexists(parent) and not os.path.isdir(parent):
            raise _no_folder(parent)
        private_folders.make(parent)
        for folder in (state, os.path.dirname(state)):
            sync_folder(folder)
    private_folders.close_to_others(state)
    beside = f"{parent}/.new-{os.getpid()}-{os.urandom(4).hex()}"
    os.mkdir(beside, 0o700)
    return beside


def write(paths: RunPaths, run: Run) -> None:
    """Replace the record atomically."""
    write_atomically(paths.at(RECORD), text_of(run))
    if run.status in FINAL:
        index_changes.note(paths)


def read(paths: RunPaths) -> Run:
    """The record of a run.

    Raises:
        TargetError: there is no record, or it is damaged.
    """
    from amlexec.history.record_checks import parsed  # a submission needs it only at the end

    try:
        if stat.S_ISLNK(os.lstat(paths.place).st_mode):
            raise link(paths)
        text = read_regular(paths.at(RECORD), _LARGEST, follow=False).decode("utf-8", "surrogateescape")
        return parsed(text, paths.run_id)
    except (FileNotFoundError, NotADirectoryError):
        raise TargetError("this is not a run: it has no run.json", where=str(paths.folder)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TargetError(
            f"this record can't be read: {reason[:1].lower()}{reason[1:]}",
            where=str(paths.record),
            hint=_newer(paths)
            or "the run's other files are intact; repair run.json, or remove the run's folder",
        ) from error


def _newer(paths: RunPaths) -> str:
    """What to do if a newer version of amlexec has written a record; "" if none has."""
    try:
        values = json.loads(read_regular(paths.record, _LARGEST, follow=False))
        version = values["amlexec"]
        numbers = [[int(part) for part in text.split(".")[:3]] for text in (version, __version__)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return (
        f"amlexec {version} wrote it, and this is {__version__}: upgrade" if numbers[0] > numbers[1] else ""
    )


def link(paths: RunPaths) -> TargetError:
    return TargetError("this is not a run: it is a link", where=str(paths.folder))


def entries(project: Project) -> list[str]:
    """The names in the folder of runs, sorted, without unfinished ones. Raises as `names` does."""
    return sorted(names(project))


def must_be_own(project: Project) -> None:
    """Raise TargetError if the folder of runs, or the one it is in, is a link."""
    for path in (project.state, f"{project.state}/{RUNS}"):
        if os.path.islink(path):
            raise TargetError(
                "this is a link: runs are kept in the project itself",
                where=path,
                hint="to keep them elsewhere, move the whole project",
            )


def names(project: Project) -> list[str]:
    """The names in the folder of runs, in the order of the file system, without unfinished ones.

    Those begin with a dot.

    Raises:
        TargetError: it is not a folder, or can't be read.
    """
    must_be_own(project)
    parent = f"{project.state}/{RUNS}"
    try:
        return [name for name in os.listdir(parent) if name[0] != "."]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise _no_folder(parent) from None


def _no_folder(path: str) -> TargetError:
    return TargetError("this is not a folder", where=path, hint="move it away")
