"""RECORD: where every file of a run is, and what `run.json` says.

A run is a folder `.amlexec/runs/<run id>/`. Its record, `run.json`, exists before anything starts and is
only ever replaced whole (temporary file, fsync, rename): a reader sees the old one or the new one.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import private_folders, run_order
from amlexec.errors import TargetError, UsageError
from amlexec.files import read_regular, remove_tree, touch, write_atomically
from amlexec.locks import Held, take
from amlexec.record import (
    FINAL,
    Application,
    Interpreter,
    Outputs,
    Run,
    SnapshotRecord,
    Source,
    is_run_id,
    parsed,
    text_of,
    without_series,
)
from amlexec.run_order import milliseconds
from amlexec.run_paths import RUNS, RunPaths, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.model import Project

__all__ = [
    "FINAL",
    "Application",
    "Interpreter",
    "Outputs",
    "Run",
    "RunPaths",
    "SnapshotRecord",
    "Source",
    "adopt",
    "check",
    "chosen",
    "create",
    "find",
    "ids",
    "instant",
    "is_run_id",
    "milliseconds",
    "parsed",
    "project_part",
    "read",
    "runs",
    "write",
]

_LARGEST = 256 << 20
"""Bytes of a record. Those of earlier versions have every value that was logged."""


def instant(epoch: float) -> str:
    """`epoch` (seconds) as a record writes it: `2026-01-31T12:00:00.000000Z`."""
    moment = datetime.fromtimestamp(epoch, timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def create(project: Project, run: Run, milliseconds: int) -> tuple[RunPaths, Run, Held]:
    """Make the folder of a new run with its record in it, under an id that nobody else has.

    The id is `<project>_<epoch ms>`; two submits in one millisecond take two numbers. The folder appears
    whole, with its lock held: it is made beside and renamed, which fails where a run already has the name.
    """
    parent, name = Path(project.state, RUNS), project_part(project)
    _entries(project)
    beside = _beside(parent)
    held = None
    try:
        (beside / "control").mkdir(mode=0o700)
        held = take(str(RunPaths(beside).lock))
        assert held is not None, "nobody else knows this folder"
        while True:
            named = run._replace(run_id=f"{name}_{milliseconds}")
            write(RunPaths(beside), named)
            try:
                beside.rename(parent / named.run_id)
            except OSError:
                if not (parent / named.run_id).exists():
                    raise
                milliseconds += 1
                continue
            run_order.note(project, named.run_id)
            return RunPaths(parent / named.run_id), named, held
    except BaseException:
        if held is not None:
            held.release()
        remove_tree(beside)
        raise


def adopt(project: Project, run: Run) -> RunPaths:
    """Make the folder of a run that was submitted elsewhere, with its record; one that is there stays."""
    paths = RunPaths.of(project, run.run_id)
    if paths.folder.exists():
        return paths
    beside = RunPaths(_beside(paths.folder.parent))
    try:
        beside.control.mkdir(mode=0o700)
        touch(beside.returned)
        write(beside, run)
        try:
            beside.folder.rename(paths.folder)
        except OSError:
            if not paths.folder.exists():
                raise
    finally:
        if beside.folder.exists():
            remove_tree(beside.folder)
    return paths


def project_part(project: Project) -> str:
    """What the ids of a project's runs begin with, before the last `_`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", project.name).strip("-.")[:60] or "project"


def _beside(parent: Path) -> Path:
    private_folders.make(parent)
    private_folders.close_to_others(parent.parent)
    beside = parent / f".new-{os.getpid()}-{os.urandom(4).hex()}"
    beside.mkdir(mode=0o700)
    return beside


def write(paths: RunPaths, run: Run) -> None:
    """Replace the record, whole or not at all."""
    write_atomically(paths.record, text_of(run))


def read(paths: RunPaths) -> Run:
    """The record of a run.

    Raises:
        TargetError: there is none, or it is damaged.
    """
    try:
        if paths.folder.is_symlink():
            raise _link(paths)
        text = read_regular(paths.record, _LARGEST, follow=False).decode("utf-8", "surrogateescape")
        return parsed(text, paths.folder.name)
    except (FileNotFoundError, NotADirectoryError):
        raise TargetError("this is no run: it has no run.json", where=str(paths.folder)) from None
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TargetError(
            f"this record can't be read: {said[:1].lower()}{said[1:]}",
            where=str(paths.record),
            hint="the other files of the run are as they were; mend run.json, or remove the run's folder",
        ) from error


def _entries(project: Project) -> list[str]:
    """The names in the folder of runs, sorted; those of folders that are being made have a dot in front.

    Raises:
        TargetError: it is no folder, or can't be read.
    """
    parent = Path(project.state, RUNS)
    for path in (Path(project.state), parent):
        if path.is_symlink():
            raise TargetError(
                "this is a link: runs are kept in the project itself",
                where=str(path),
                hint="to keep them elsewhere, have the whole project there",
            )
    try:
        return sorted(entry.name for entry in os.scandir(parent) if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise TargetError("this is no folder", where=str(parent), hint="move it away") from None


def ids(project: Project) -> list[str]:
    """The ids of the project's runs, sorted. Raises TargetError where their folder can't be read."""
    return [name for name in _entries(project) if is_run_id(name)]


def runs(project: Project) -> tuple[list[Run], list[TargetError]]:
    """Every run of the project, newest first; and an error for each folder that isn't a readable run.

    Of each metric they have the last value, also where the record has them all.

    Raises:
        TargetError: the folder of the runs can't be read.
    """
    parent = Path(project.state, RUNS)
    found: list[Run] = []
    problems: list[TargetError] = []
    for name in _entries(project):
        if not is_run_id(name):
            problems.append(TargetError("this is no run: its name is no run id", where=str(parent / name)))
            continue
        try:
            found.append(without_series(read(RunPaths(parent / name))))
        except TargetError as error:
            problems.append(error)
    found.sort(key=lambda run: (run.created_utc, run.run_id), reverse=True)
    return found, problems


def find(project: Project, reference: str) -> RunPaths:
    """The paths of the run that `reference` names: its id, a beginning that only it has, or `last`.

    Raises:
        UsageError: no run, or several, are meant.
        TargetError: the folder of the runs can't be read.
    """
    parent = Path(project.state, RUNS)
    names = ids(project)
    if reference == "last":
        for name in run_order.newest_first(project, names):
            if RunPaths(parent / name).record.is_file():
                return RunPaths(parent / name)
        raise UsageError("there are no runs yet", hint="amlexec experiment submit -c local SCRIPT")
    paths = RunPaths(parent / chosen(names, reference))
    if paths.folder.is_symlink():
        raise _link(paths)
    return paths


def _link(paths: RunPaths) -> TargetError:
    return TargetError("this is no run: it is a link", where=str(paths.folder))


def chosen(names: Sequence[str], reference: str, hint: str = "amlexec history list shows them all") -> str:
    """The one of these ids that `reference` is, or that alone begins with it. Raises UsageError."""
    if reference in names:
        return reference
    meant = [name for name in names if reference and name.startswith(reference)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(
            f"{len(meant)} runs begin with {reference!r}", hint=f"{', '.join(meant[-3:])}: which one?"
        )
    from difflib import get_close_matches

    near = get_close_matches(reference, names, n=3)
    raise UsageError(
        f"there is no run {reference!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else hint,
    )
