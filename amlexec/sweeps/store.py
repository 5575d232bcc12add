"""The folders of sweeps, `.amlexec/sweeps/<sweep id>/`: make, find and read them."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import private_folders
from amlexec.errors import TargetError, UsageError
from amlexec.file_trees import remove_tree
from amlexec.files import read_regular, sync_folder, touch, write_atomically
from amlexec.locks import Held, take
from amlexec.sweeps import journal
from amlexec.sweeps.definition import is_sweep_id, parsed, text_of

if TYPE_CHECKING:
    from amlexec.sweeps.definition import Definition
    from amlexec.sweeps.journal import PointState
    from amlexec.values import Project

__all__ = [
    "SweepPaths",
    "ask_to_stop",
    "claim",
    "create",
    "find",
    "ids",
    "is_running",
    "load",
    "owner",
    "states",
]

_FOLDER = "sweeps"
_LARGEST = 256 << 20
_ABANDONED_S = 3600.0
"""Age of a folder that another process did not finish making, in seconds."""
_PROBE_S = 0.3


class SweepPaths(NamedTuple):
    """Every path of a sweep, absolute."""

    folder: Path

    @property
    def definition(self) -> Path:
        """`sweep.json`, written once."""
        return self.folder / "sweep.json"

    @property
    def journal(self) -> Path:
        """`journal.jsonl`, appended to."""
        return self.folder / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the process that executes the sweep; it contains the process's number."""
        return self.folder / "lock"

    @property
    def stop(self) -> Path:
        """Exists if the sweep should start no more runs."""
        return self.folder / "stop"


def create(project: Project, definition: Definition) -> tuple[SweepPaths, Definition, Held]:
    """Make the folder of a new sweep under a unique id, with its lock held.

    It appears atomically: it is made under another name, and renamed.
    """
    parent = Path(project.state, _FOLDER)
    if not parent.is_dir():
        private_folders.make(parent)
        sync_folder(parent.parent)
    private_folders.close_to_others(parent.parent)
    _remove_abandoned(parent)
    beside = SweepPaths(parent / f".new-{os.getpid()}-{os.urandom(4).hex()}")
    beside.folder.mkdir(mode=0o700)
    held = None
    milliseconds = int(time.time() * 1000)
    try:
        held = take(str(beside.lock))
        assert held is not None, "no other process knows this folder"
        _sign(held)
        while True:
            named = definition._replace(id=f"sweep_{milliseconds}")
            write_atomically(beside.definition, text_of(named))
            try:
                beside.folder.rename(parent / named.id)
            except OSError:
                if not (parent / named.id).exists():
                    raise
                milliseconds += 1
                continue
            beside = SweepPaths(parent / named.id)
            sync_folder(parent)
            return beside, named, held
    except BaseException:
        if held is not None:
            held.release()
        remove_tree(beside.folder)
        raise


def _remove_abandoned(parent: Path) -> None:
    """Remove folders of processes that were killed while they made them."""
    for entry in os.scandir(parent):
        if entry.name.startswith(".new-") and time.time() - entry.stat().st_mtime > _ABANDONED_S:
            remove_tree(entry.path)


def claim(paths: SweepPaths) -> Held:
    """Take the lock of a sweep, to execute it.

    Raises:
        UsageError: another process executes it.
    """
    until = time.monotonic() + _PROBE_S
    while (held := take(str(paths.lock))) is None and time.monotonic() < until:
        time.sleep(0.02)  # somebody may be looking whether it is running, see `is_running`
    if held is None:
        raise UsageError(
            f"the sweep {paths.folder.name} is running, in process {owner(paths) or 'unknown'}",
            hint=f"watch it: amlexec sweep status {paths.folder.name}",
        )
    _sign(held)
    return held


def _sign(held: Held) -> None:
    os.pwrite(held.fileno(), b"%-20d\n" % os.getpid(), 0)


def is_running(paths: SweepPaths) -> bool:
    """Whether a process executes the sweep."""
    try:
        held = take(str(paths.lock))
    except OSError:
        return False
    if held is None:
        return True
    held.release()
    return False


def owner(paths: SweepPaths) -> str:
    """The number of the process that executes the sweep, or did so last; "" if unknown."""
    try:
        text = read_regular(paths.lock, 100, follow=False).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return text if re.fullmatch(r"[0-9]{1,10}", text) else ""


def ids(project: Project) -> list[str]:
    """The ids of the project's sweeps, oldest first."""
    try:
        names = [entry.name for entry in os.scandir(Path(project.state, _FOLDER)) if is_sweep_id(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


def find(project: Project, reference: str) -> SweepPaths:
    """The paths of the sweep that `reference` names: its id, a unique prefix of it, or `last`.

    Raises:
        UsageError: `reference` matches no sweep, or several.
    """
    names = ids(project)
    if reference == "last" and names:
        return SweepPaths(Path(project.state, _FOLDER, names[-1]))
    matches = [name for name in names if name == reference or (reference and name.startswith(reference))]
    if reference in matches or len(matches) == 1:
        return SweepPaths(Path(project.state, _FOLDER, reference if reference in matches else matches[0]))
    if matches:
        raise UsageError(
            f"{len(matches)} sweeps begin with {reference!r}", hint=f"{', '.join(matches[-3:])}: which one?"
        )
    hint = (
        "amlexec sweep list shows them all"
        if names
        else "amlexec experiment sweep -c local SCRIPT --lr 0.1,0.01"
    )
    raise UsageError(f"there is no sweep {reference!r}" if names else "there are no sweeps yet", hint=hint)


def load(paths: SweepPaths) -> Definition:
    """The definition of a sweep.

    Raises:
        TargetError: it can't be read.
    """
    try:
        return parsed(read_regular(paths.definition, _LARGEST, follow=False).decode(), paths.folder.name)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TargetError(
            f"this sweep can't be read: {reason[:1].lower()}{reason[1:]}",
            where=str(paths.definition),
            hint="its runs are intact; repair sweep.json, or remove the sweep's folder",
        ) from error


def states(paths: SweepPaths) -> dict[int, PointState]:
    """The state of every point that was claimed. Raises OSError."""
    return journal.read(paths.journal)


def ask_to_stop(paths: SweepPaths) -> None:
    """Let the sweep start no more runs. Raises OSError."""
    touch(paths.stop)
