"""Take a run from a bundle into a project. The file may come from anybody: all of it is checked first."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import checked_values as checked
from amlexec import private_folders
from amlexec.config import load as config
from amlexec.environments import resolved_lock
from amlexec.errors import ConfigurationError, TargetError, UsageError
from amlexec.file_trees import remove_tree
from amlexec.files import open_regular, read_regular
from amlexec.history import folders, outputs_manifest
from amlexec.history.paths import RUNS, RunPaths
from amlexec.history.record import FINAL, Run, is_run_id
from amlexec.history.record_checks import parsed
from amlexec.runs.bundle import ABOUT, FORMAT, LOCK, OUTPUTS, SNAPSHOT
from amlexec.runs.repeat import must_be_runnable
from amlexec.snapshots.adopt import adopt
from amlexec.snapshots.export import open_up
from amlexec.targets import safe_tar
from amlexec.values import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bundle", "import_run", "new_project", "opened", "take_in"]

_LARGEST = 256 << 20
"""Bytes of a record, as everywhere."""
_ABOUT_SIZE = 1 << 16
_FILES = frozenset([ABOUT, "run.json", LOCK, "metrics.jsonl", outputs_manifest.NAME])
_FOLDERS = frozenset([SNAPSHOT, OUTPUTS])


class Bundle(NamedTuple):
    """The content of a bundle, checked."""

    file: Path
    folder: Path
    """A temporary folder with its files."""
    run: Run
    record: str
    """The text of the run's record."""
    lock: str
    """The text of the run's resolved lock; "" if it has none."""


@contextlib.contextmanager
def opened(file: Path, room: Path) -> Iterator[Bundle]:
    """Unpack a bundle into a temporary folder in `room`, and check all of it.

    Raises:
        TargetError: it is no bundle, or a part of it is not as it should be.
        OSError: it can't be read, or there is no room.
    """
    # Leftovers of a killed process are found by this name: see `leftovers.folders`.
    folder = room / f".new-{os.getpid()}-{os.urandom(4).hex()}"
    with open_regular(file) as archive, _made(folder):
        # Not compressed: what is unpacked is no larger than the file.
        size = os.fstat(archive.fileno()).st_size
        limits = safe_tar.Limits(bytes=size)
        found = safe_tar.unpack(archive.read, folder, limits=limits, outward_links=True)
        if found.broken:
            raise _refused(file, found.broken)
        if found.refused:
            raise _refused(file, f"{found.refused[0].path!r:.200}: {found.refused[0].reason}")
        for parts in sorted(found.names):
            _must_be_expected(file, [os.fsdecode(part) for part in parts])
        (folder / SNAPSHOT).mkdir(exist_ok=True)
        yield _checked(file, folder)


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700)
    try:
        yield
    finally:
        remove_tree(folder)


def _must_be_expected(file: Path, parts: list[str]) -> None:
    first, *more = parts
    inside = [part.lower() for part in more]
    if (first in _FILES and not more) or (first == OUTPUTS):
        return
    if first == SNAPSHOT and ".git" not in inside and inside[:1] != [".amlexec"]:
        return
    raise _refused(file, f"{'/'.join(parts)[:200]!r} does not belong in a bundle")


def _checked(file: Path, folder: Path) -> Bundle:
    run_id = _run_id(file, _text(file, folder, ABOUT, _ABOUT_SIZE))
    record = _text(file, folder, "run.json", _LARGEST)
    try:
        run = parsed(record, run_id)
        must_be_runnable(run)
    except ValueError as error:
        raise _refused(file, f"its record: {error}") from None
    if run.status not in FINAL or run.snapshot is None:
        raise _refused(file, "its run has not ended, or has no snapshot")
    lock = ""
    if run.environment_lock is not None:
        lock = _text(file, folder, LOCK, resolved_lock.LARGEST)
        if resolved_lock.name_of(lock) != run.environment_lock:
            raise _refused(file, "its lock is not the one that its record names")
    try:
        listed = outputs_manifest.parsed(_text(file, folder, outputs_manifest.NAME, _LARGEST))
    except ValueError as error:
        raise _refused(file, f"its list of outputs: {error}") from None
    outputs = folder / OUTPUTS
    if os.path.lexists(outputs) and outputs_manifest.hashed(outputs) != listed:
        raise _refused(file, "its outputs differ from its list of them")
    return Bundle(file, folder, run, record, lock)


def _run_id(file: Path, text: str) -> str:
    try:
        about = json.loads(text)
        found, run_id = about["format"], checked.text(about["run_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _refused(file, f"its {ABOUT} is not what amlexec writes") from None
    if found != FORMAT:
        raise _refused(file, f"it is of format {found!r:.20}; this version reads format {FORMAT}")
    if not is_run_id(run_id):
        raise _refused(file, f"{run_id[:80]!r} is not a run id")
    return run_id


def _text(file: Path, folder: Path, name: str, largest: int) -> str:
    try:
        return read_regular(folder / name, largest, follow=False).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise _refused(file, f"it has no {name}") from None
    except OSError as error:
        raise _refused(file, f"its {name} can't be read: {error.strerror or error}") from None


def _refused(file: Path, why: str) -> TargetError:
    return TargetError(f"this is not a bundle of a run: {why}", where=str(file), hint="nothing was imported")


def import_run(project: Project, file: Path) -> RunPaths:
    """Add the run of a bundle to a project. Raises as `opened` and `take_in`."""
    room = Path(project.state, RUNS)
    private_folders.make(room)
    with opened(file, room) as bundle:
        return take_in(project, bundle)


def take_in(project: Project, bundle: Bundle) -> RunPaths:
    """Add the run of a bundle to a project, with its snapshot and its lock. Idempotent.

    Raises:
        UsageError: the project has another run with this id.
        TargetError: its files are not those of its snapshot, or can't be stored.
    """
    run = bundle.run
    paths = RunPaths.of(project, run.run_id)
    if os.path.lexists(paths.folder):
        if folders.read(paths) != run:
            raise UsageError(
                f"this project has another run {run.run_id}",
                where=str(bundle.file),
                hint="use another project",
            )
        return paths
    assert run.snapshot is not None, "it was checked"
    try:
        adopt(project, bundle.folder / SNAPSHOT, run.snapshot.tree)
    except TargetError as error:
        error.where = error.where or str(bundle.file)
        raise
    if bundle.lock:
        resolved_lock.keep(project, bundle.lock)

    def fill(made: RunPaths) -> None:
        for name in ("metrics.jsonl", outputs_manifest.NAME, OUTPUTS):
            if os.path.lexists(bundle.folder / name):
                shutil.move(bundle.folder / name, made.folder / name)

    return folders.adopt(project, run, fill)


def new_project(file: Path, into: Path) -> tuple[Project, RunPaths]:
    """A new project in the folder `into`, with the files of a bundle's snapshot and its run.

    The new folder has the name of the run's project, as in the run's id, and appears whole or not at all.

    Raises:
        UsageError: there is such a folder already.
        TargetError: it is no bundle; its snapshot is no project.
    """
    with tempfile.TemporaryDirectory(prefix=".amlexec-", dir=into) as room:
        made = Path(room, "project")
        made.mkdir()
        with opened(file, Path(room)) as bundle:
            folder = into / bundle.run.run_id.rpartition("_")[0]
            if os.path.lexists(folder):
                raise UsageError(
                    f"{folder} exists already",
                    where=str(file),
                    hint=f"to rerun in that project: -p {folder.name}; or use an empty folder",
                )
            paths = take_in(Project(str(made)), bundle)
            for entry in (bundle.folder / SNAPSHOT).iterdir():
                entry.rename(made / entry.name)
        try:
            config.find_project(made)
        except ConfigurationError:
            raise TargetError(
                "the snapshot has no aml_config folder: a project is needed to run it",
                where=str(file),
                hint="amlexec init FOLDER, then amlexec history import FILE.tar -p FOLDER",
            ) from None
        open_up(made, but=".amlexec")
        made.rename(folder)
    project = config.find_project(folder)
    return project, RunPaths.of(project, paths.folder.name)
