"""Where every file of a run is, and whether what stands there is of our making."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.files import SMALL
from amlexec.history.record import is_run_id

if TYPE_CHECKING:
    from amlexec.model import Project

__all__ = ["RUNS", "RunPaths", "check"]

RUNS = "runs"
"""The folder of the runs, below the project's state."""
_SHORT = frozenset({"cancel", "container", "end", "lock", "returned", "script", "staged", "supervisor"})
"""Control files that hold a line."""


class RunPaths(NamedTuple):
    """Every path of a run, absolute."""

    folder: Path

    @classmethod
    def of(cls, project: Project, run_id: str) -> RunPaths:
        """The paths of the run `run_id`, whether it exists or not.

        Raises:
            TargetError: it is no run id, and could lead anywhere.
        """
        if not is_run_id(run_id):
            raise TargetError(f"{run_id[:80]!r} is no run id", where=project.state)
        return cls(Path(project.state, RUNS, run_id))

    @property
    def record(self) -> Path:
        """`run.json`."""
        return self.folder / "run.json"

    @property
    def stdout(self) -> Path:
        """What the script wrote to its standard output, byte for byte."""
        return self.folder / "stdout.log"

    @property
    def stderr(self) -> Path:
        """What the script wrote to its standard error, byte for byte."""
        return self.folder / "stderr.log"

    @property
    def log(self) -> Path:
        """What amlexec did for the run, a line per step."""
        return self.folder / "control.log"

    @property
    def metrics(self) -> Path:
        """What the script logged, a JSON line per value."""
        return self.folder / "metrics.jsonl"

    @property
    def outputs(self) -> Path:
        """The `outputs/` folder that the run brought home."""
        return self.folder / "outputs"

    @property
    def control(self) -> Path:
        """What the supervisor writes, and the locks."""
        return self.folder / "control"

    @property
    def lock(self) -> Path:
        """Held by the process that makes the run ready, and by the one that writes its end."""
        return self.control / "lock"

    @property
    def returned(self) -> Path:
        """There where the run was brought here from its machine by somebody who has not submitted it here."""
        return self.control / "returned"

    @property
    def checkout(self) -> Path:
        """The copy of the project that the run executes in."""
        return self.folder / "project"


def check(paths: RunPaths) -> None:
    """See that what will be written to and read in the run's folder is there, and not somewhere else.

    Raises:
        TargetError: a folder or a control file is a link, a pipe, or larger than any that is written here.
    """
    try:
        for name in ("control", "project", "logged", "incoming"):
            if (there := _mode(paths.folder / name)) and not stat.S_ISDIR(there):
                raise _stranger(paths.folder / name, "folder")
        with os.scandir(paths.control) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    continue
                if not entry.is_file(follow_symlinks=False) or (
                    entry.name in _SHORT and entry.stat(follow_symlinks=False).st_size > SMALL
                ):
                    raise _stranger(Path(entry.path), "file")
    except FileNotFoundError:
        return  # nothing is there that could lead away
    except OSError as error:
        raise TargetError(
            f"the run's folder can't be read: {error.strerror}", where=str(error.filename or paths.folder)
        ) from error


def _stranger(path: Path, what: str) -> TargetError:
    depth = 0 if what == "folder" else 1
    return TargetError(
        f"this is no {what} that amlexec has made: nothing is done with the run",
        where=str(path),
        hint=f"look at what is there; to be rid of the run, remove its folder {path.parents[depth]}",
    )


def _mode(path: Path) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0
