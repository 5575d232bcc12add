"""The paths of a run's files, and a check that they are amlexec's own."""

from __future__ import annotations

import os
import stat
from functools import lru_cache

from amlexec.errors import TargetError
from amlexec.files import SMALL
from amlexec.history.record import is_run_id
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.values import Project

__all__ = ["LOCK", "LOG", "PROJECT", "RECORD", "RUNS", "RunPaths", "check"]

RUNS = "runs"
"""The folder of the runs, below the project's state."""
RECORD = "run.json"
LOG = "control.log"
LOCK = "control/lock"
PROJECT = "project"
"""Names in a run's folder, for `RunPaths.at`."""
_SHORT = frozenset(
    {"cancel", "container", "end", "lock", "release", "returned", "script", "staged", "supervisor"}
)
"""Control files of a single line."""


class RunPaths(NamedTuple):
    """Every path of a run, absolute."""

    place: str
    """The run's folder."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return _path(self.place)

    @property
    def run_id(self) -> str:
        """The name of the run's folder."""
        return os.path.basename(self.place)  # noqa: PTH119

    def at(self, name: str) -> str:
        """The path of something in the folder, as text."""
        return f"{self.place}/{name}"

    @classmethod
    def of(cls, project: Project, run_id: str) -> RunPaths:
        """The paths of the run `run_id`, which need not exist.

        Raises:
            TargetError: it is not a run id, so the path could be anywhere.
        """
        if not is_run_id(run_id):
            raise TargetError(f"{run_id[:80]!r} is not a run id", where=project.state)
        return cls(f"{project.state}/{RUNS}/{run_id}")

    @property
    def record(self) -> Path:
        """`run.json`."""
        return self.folder / RECORD

    @property
    def stdout(self) -> Path:
        """The script's standard output, byte for byte."""
        return self.folder / "stdout.log"

    @property
    def stderr(self) -> Path:
        """The script's standard error, byte for byte."""
        return self.folder / "stderr.log"

    @property
    def log(self) -> Path:
        """The log of amlexec's own steps, a line each."""
        return self.folder / LOG

    @property
    def metrics(self) -> Path:
        """The script's metrics, a JSON line per value."""
        return self.folder / "metrics.jsonl"

    @property
    def tags(self) -> Path:
        """The run's tags, a JSON line per change."""
        return self.folder / "tags.jsonl"

    @property
    def note(self) -> Path:
        """What a user wrote about the run, as plain text."""
        return self.folder / "note.txt"

    @property
    def outputs(self) -> Path:
        """The collected `outputs/` folder of the run."""
        return self.folder / "outputs"

    @property
    def control(self) -> Path:
        """The supervisor's files, and the locks."""
        return self.folder / "control"

    @property
    def lock(self) -> Path:
        """Held by the process that prepares the run, and by the one that records its end."""
        return self.folder / LOCK

    @property
    def returned(self) -> Path:
        """Exists if the run was submitted elsewhere and collected here from its machine."""
        return self.control / "returned"

    @property
    def application(self) -> Path:
        """What YARN says about the run's application."""
        return self.control / "application.json"

    @property
    def checkout(self) -> Path:
        """The copy of the project that the run executes in."""
        return self.folder / PROJECT


@lru_cache(maxsize=16)  # asked for thirty times at the end of a run
def _path(place: str) -> Path:
    from pathlib import Path  # a submission does without: that import takes 2 ms

    return Path(place)


def check(paths: RunPaths) -> None:
    """Check that the run's folders and control files are real files inside of it.

    Raises:
        TargetError: a folder or a control file is a link, a pipe, or larger than amlexec's own files.
    """
    try:
        for name in ("control", "project", "logged", "incoming"):
            if (mode := _mode(paths.at(name))) and not stat.S_ISDIR(mode):
                raise _not_ours(paths.folder / name, "folder")
        with os.scandir(paths.at("control")) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    continue
                if not entry.is_file(follow_symlinks=False) or (
                    entry.name in _SHORT and entry.stat(follow_symlinks=False).st_size > SMALL
                ):
                    raise _not_ours(paths.folder / "control" / entry.name, "file")
    except FileNotFoundError:
        return  # nothing exists that could lead out of the folder
    except OSError as error:
        raise TargetError(
            f"the run's folder can't be read: {error.strerror}", where=str(error.filename or paths.place)
        ) from error


def _not_ours(path: Path, what: str) -> TargetError:
    depth = 0 if what == "folder" else 1
    return TargetError(
        f"amlexec has not made this {what}: nothing is done with the run",
        where=str(path),
        hint=f"look at it; to get rid of the run, remove its folder {path.parents[depth]}",
    )


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0
