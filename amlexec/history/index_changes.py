"""What has changed in the runs of a project since the index was last brought up to date.

The names of the runs are always read. A run's own files are looked at while it has not ended, and when they
were written in the last seconds, so that a later write may have the same time. Of ended runs:

- in a project of up to `FEW` runs, the files of all are looked at;
- in a larger one, the names in the `changed` files, and a different sample each time. amlexec appends the
  name of each run whose record, tags or note it writes to `.amlexec/changed/MACHINE`: a file for each
  machine, because appends of several machines to one file of a shared folder may overwrite each other.

So only a change of an ended run by hand, in a project of more than `FEW` runs, may be noticed later.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

from amlexec import private_folders
from amlexec.files import append, open_regular
from amlexec.history.paths import RUNS
from amlexec.history.record import is_run_id
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.history.paths import RunPaths
    from amlexec.values import Project

# ruff: noqa: PTH116, PTH119, PTH120 - a submission needs no pathlib

__all__ = ["FEW", "Stamp", "journals", "named_since", "note", "sample", "stamp"]

FEW = 5_000
"""Runs of a project whose files are all looked at."""
_JOURNALS = "changed"
_SETTLING_S = 2.5
"""Seconds after which a write surely gives a file another time: some file systems have only even seconds."""


def note(paths: RunPaths) -> None:
    """Record that a run's record, tags or note were written. To be called after the write."""
    runs = os.path.dirname(paths.place)
    if os.path.basename(runs) != RUNS or not is_run_id(paths.run_id):
        return
    machine = "".join(sign if sign.isalnum() else "-" for sign in os.uname().nodename)[:100] or "machine"
    with contextlib.suppress(OSError):  # a full disk; the change is noticed by a sample, later
        folder = f"{os.path.dirname(runs)}/{_JOURNALS}"
        private_folders.make(folder)
        append(f"{folder}/{machine}", f"{paths.run_id}\n")


def journals(project: Project) -> dict[str, list[int]]:
    """The identity and the size of each `changed` file, by name."""
    try:
        with os.scandir(f"{project.state}/{_JOURNALS}") as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return {}
    return {name: [status.st_ino, status.st_size] for name, status in found if stat.S_ISREG(status.st_mode)}


def named_since(
    project: Project, before: Mapping[str, list[int]], now: Mapping[str, list[int]]
) -> set[str] | None:
    """The runs that were named since `before`; None if a file was replaced or cut: all may have changed."""
    named: set[str] = set()
    for name, (identity, size) in before.items():
        if now.get(name, (0, 0))[0] != identity or now[name][1] < size:
            return None
    for name, (_, size) in now.items():
        start = before.get(name, (0, 0))[1]
        if size == start:
            continue
        try:
            with open_regular(f"{project.state}/{_JOURNALS}/{name}", follow=False) as file:
                file.seek(start)
                lines = file.read(size - start)
        except OSError:
            return None
        named.update(lines.decode("ascii", "replace").split("\n"))
    return named


def sample(known: int) -> tuple[int, int]:
    """The first and the last row of a sample of so many."""
    start = time.time_ns() // 1000 % max(1, known)  # `random` would take a millisecond to import
    return start, start + FEW // 10


def folder_stamp(project: Project) -> tuple[str, bool]:
    """What changes when a run is added or removed, and whether every later write changes it."""
    try:
        status = os.stat(f"{project.state}/{RUNS}")
    except OSError:
        return "-", False
    is_settled = max(status.st_mtime_ns, status.st_ctime_ns) < time.time_ns() - _SETTLING_S * 1e9
    return f"{status.st_mtime_ns:x}.{status.st_ino:x}.{status.st_dev:x}", is_settled


class Stamp(NamedTuple):
    """The state of a run's files."""

    text: str
    """Changes with every write that is noticed."""
    is_settled: bool
    """Whether every later write changes it."""
    is_folder: bool
    """Whether the run has a folder of its own, and not a link to one."""
    has_tags: bool
    has_note: bool

    def without_live(self) -> Stamp:
        """The stamp of the same files without those that only a run writes that has not ended."""
        return self._replace(text=" ".join(self.text.split(" ")[: len(_FILES)]))


_FILES = ("run.json", "tags.jsonl", "note.txt", "metrics.jsonl")


def stamp(folder: int, name: str, *, live: bool) -> Stamp:
    """Look at the files of the run `name` in the folder of runs, given by its descriptor.

    `live` runs may still log metrics.
    """
    parts = []
    newest = mode = 0
    for file in ("", *(_FILES if live else _FILES[:3])):
        try:
            status = os.stat(f"{name}/{file}" if file else name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            parts.append("-")
            continue
        mode = mode or status.st_mode
        newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        parts.append(f"{status.st_mtime_ns:x}.{status.st_size:x}.{status.st_ino:x}")
    is_settled = newest < time.time_ns() - _SETTLING_S * 1e9
    return Stamp(" ".join(parts), is_settled, stat.S_ISDIR(mode), parts[2] != "-", parts[3] != "-")
