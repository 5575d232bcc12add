"""RECORD: where every file of a run is, and what `run.json` says.

A run is a folder `.amlexec/runs/<run id>/`. Its record, `run.json`, exists before anything starts and is
only ever replaced whole (temporary file, fsync, rename): a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import TargetError, UsageError
from amlexec.files import write_atomically
from amlexec.locks import Held, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.model import Project

__all__ = [
    "FINAL",
    "Interpreter",
    "Outputs",
    "Run",
    "RunPaths",
    "SnapshotRecord",
    "Source",
    "adopt",
    "chosen",
    "create",
    "find",
    "instant",
    "milliseconds",
    "parsed",
    "project_part",
    "read",
    "runs",
    "write",
]

FINAL = frozenset({"Completed", "Failed", "Canceled", "Lost"})
"""The statuses that never change again."""

_RUNS = "runs"


class RunPaths(NamedTuple):
    """Every path of a run, absolute."""

    folder: Path

    @classmethod
    def of(cls, project: Project, run_id: str) -> RunPaths:
        """The paths of the run `run_id`, whether it exists or not."""
        return cls(Path(project.state, _RUNS, run_id))

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


class SnapshotRecord(NamedTuple):
    """The snapshot that a run executes."""

    tree: str
    """git's id of the tree in `.amlexec/snapshots.git`."""
    files: int
    bytes: int


class Source(NamedTuple):
    """The user's own git repository when the run was submitted."""

    commit: str
    dirty: bool


class Interpreter(NamedTuple):
    """The Python that the script runs in, as it said of itself."""

    path: str
    version: str


class Outputs(NamedTuple):
    """What was brought home from `outputs/`."""

    files: int
    bytes: int


class Application(NamedTuple):
    """What a run is to a Spark cluster, as far as the log of spark-submit tells."""

    id: str
    tracking_url: str | None


class Run(NamedTuple):
    """A run, as `run.json` has it: the keys are the names of these fields.

    Times are UTC in ISO 8601 with microseconds and a `Z`. What was not read is None.
    """

    run_id: str
    status: str
    """`Preparing`, `Starting`, `Running`, `Completed`, `Failed`, `Canceled`, or `Lost`: it is over, and
    nobody can say how it ended."""
    reason: str
    """One sentence where the status needs one: "killed by SIGKILL", "amlexec ended before ..."."""
    run_configuration: str
    target: str
    target_kind: str
    script_name: str
    arguments: tuple[str, ...]
    argv: tuple[str, ...] | None
    """What was executed; None until it is known."""
    framework: str
    tracked: bool
    environment_variables: dict[str, str]
    """As declared; values of names that look secret are `***`."""
    created_utc: str
    start_time_utc: str | None
    end_time_utc: str | None
    exit_code: int | None
    """As a shell has it: 128 + n for a script that signal n ended."""
    python: Interpreter | None
    platform: str | None
    snapshot: SnapshotRecord | None
    source: Source | None
    environment_digest: str | None
    image_id: str | None
    metrics: dict[str, Any]
    outputs: Outputs | None
    """None until they have been brought home."""
    user_id: str
    host: str
    """Name of the machine that submitted the run."""
    amlexec: str
    """Version of amlexec that submitted the run."""
    application: Application | None = None
    """What a cluster calls it."""


_NESTED = {
    "python": Interpreter,
    "snapshot": SnapshotRecord,
    "source": Source,
    "outputs": Outputs,
    "application": Application,
}


def instant(epoch: float) -> str:
    """`epoch` (seconds) as a record writes it: `2026-01-31T12:00:00.000000Z`."""
    moment = datetime.fromtimestamp(epoch, timezone.utc)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def create(project: Project, run: Run, milliseconds: int) -> tuple[RunPaths, Run, Held]:
    """Make the folder of a new run with its record in it, under an id that nobody else has.

    The id is `<project>_<epoch ms>`; two submits in one millisecond take two numbers. The folder appears
    whole, with its lock held: it is made beside and renamed, which fails where a run already has the name.
    """
    parent, name = Path(project.state, _RUNS), project_part(project)
    beside = _beside(parent)
    held = None
    try:
        (beside / "control").mkdir()
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
            return RunPaths(parent / named.run_id), named, held
    except BaseException:
        if held is not None:
            held.release()
        import shutil

        shutil.rmtree(beside, ignore_errors=True)
        raise


def adopt(project: Project, run: Run) -> RunPaths:
    """Make the folder of a run that was submitted elsewhere, with its record; one that is there stays."""
    paths = RunPaths.of(project, run.run_id)
    if paths.folder.exists():
        return paths
    beside = RunPaths(_beside(paths.folder.parent))
    try:
        beside.control.mkdir()
        beside.returned.touch()
        write(beside, run)
        try:
            beside.folder.rename(paths.folder)
        except OSError:
            if not paths.folder.exists():
                raise
    finally:
        if beside.folder.exists():
            import shutil

            shutil.rmtree(beside.folder)
    return paths


def project_part(project: Project) -> str:
    """What the ids of a project's runs begin with, before the last `_`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", project.name).strip("-.")[:60] or "project"


def _beside(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    beside = parent / f".new-{os.getpid()}-{os.urandom(4).hex()}"
    beside.mkdir()
    return beside


def write(paths: RunPaths, run: Run) -> None:
    """Replace the record, whole or not at all."""
    values = run._asdict()
    for key in _NESTED:
        values[key] = values[key] and values[key]._asdict()
    write_atomically(paths.record, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read(paths: RunPaths) -> Run:
    """The record of a run.

    Raises:
        TargetError: there is none, or it is damaged.
    """
    try:
        return parsed(paths.record.read_text(encoding="utf-8", errors="surrogateescape"), paths.folder.name)
    except (FileNotFoundError, NotADirectoryError):
        raise TargetError("this is no run: it has no run.json", where=str(paths.folder)) from None
    except (OSError, ValueError) as error:
        raise TargetError(
            f"this record can't be read: {error}",
            where=str(paths.record),
            hint="the other files of the run are as they were; mend run.json, or remove the run's folder",
        ) from error


def parsed(text: str, run_id: str) -> Run:
    """The run that the text of a `run.json` tells of. Raises ValueError where it is none, or another run."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.get("run_id") != run_id:
        raise ValueError("it is not the record of this run")
    try:
        values.setdefault("application", None)
        for key, kind in _NESTED.items():
            if values[key] is not None:
                values[key] = kind(**values[key])
        for key in ("arguments", "argv"):
            if values[key] is not None:
                values[key] = tuple(values[key])
        return Run(**{key: values[key] for key in Run._fields})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def runs(project: Project) -> tuple[list[Run], list[TargetError]]:
    """Every run of the project, newest first; and an error for each folder that isn't a readable run."""
    parent = Path(project.state, _RUNS)
    found: list[Run] = []
    problems: list[TargetError] = []
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if not entry.name.startswith("."))
    except FileNotFoundError:
        return [], []
    for name in names:
        try:
            found.append(read(RunPaths(parent / name)))
        except TargetError as error:
            problems.append(error)
    found.sort(key=lambda run: (run.created_utc, run.run_id), reverse=True)
    return found, problems


def find(project: Project, reference: str) -> RunPaths:
    """The paths of the run that `reference` names: its id, a beginning that only it has, or `last`.

    Raises:
        UsageError: no run, or several, are meant.
    """
    parent = Path(project.state, _RUNS)
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if not entry.name.startswith("."))
    except FileNotFoundError:
        names = []
    if reference == "last":
        # A run's id ends with its time, so the newest is found without reading all the others.
        for name in sorted(names, key=milliseconds, reverse=True):
            if RunPaths(parent / name).record.is_file():
                return RunPaths(parent / name)
        raise UsageError("there are no runs yet", hint="amlexec experiment submit -c local SCRIPT")
    return RunPaths(parent / chosen(names, reference))


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


def milliseconds(run_id: str) -> int:
    """The time that the id ends with; 0 for an id of another form."""
    number = run_id.rpartition("_")[2]
    return int(number) if number.isascii() and number.isdigit() else 0
