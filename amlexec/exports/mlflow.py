"""Export runs to MLflow: what is new since the last export of each, and nothing twice."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from amlexec.exports import sidecar, values
from amlexec.file_trees import walk
from amlexec.history import notes, tags
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.exports.mlflow_client import Tracking
    from amlexec.exports.sidecar import Sidecar
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["Exported", "export_run"]

_CHUNK = 20_000
"""Values after which the state is kept, so that a command that is killed has not done it all for nothing."""
_OWN = "amlexec"
"""The folder of artifacts for what is not an output."""


class Exported(NamedTuple):
    """What was written to MLflow."""

    mlflow_id: str
    values: int
    files: int


def export_run(project: Project, run: Run, tracking: Tracking, destination: str, *, files: bool) -> Exported:
    """Export a run. A run that has not changed since is only looked at here.

    Raises:
        MlflowError: MLflow refused something, or does not answer. What was written is remembered.
        OSError: a file of the run can't be read.
    """
    paths = RunPaths.of(project, run.run_id)
    with sidecar.opened(project, destination, run.run_id) as known:
        return _Export(project, run, paths, tracking, known).run(files=files)


class _Export:
    def __init__(
        self, project: Project, run: Run, paths: RunPaths, tracking: Tracking, known: Sidecar
    ) -> None:
        self._project, self._run, self._paths = project, run, paths
        self._tracking, self._known = tracking, known

    def run(self, *, files: bool) -> Exported:
        marks, note = tags.read(self._paths), notes.read(self._paths)
        began = values.milliseconds(self._run.start_time_utc or self._run.created_utc) or 0
        self._connect(began)
        written = self._metrics(began)
        self._parameters()
        self._tags(values.tags_of(self._run, self._project.name, marks, note))
        count = self._files() if files else 0
        self._end()
        self._known.write()
        return Exported(self._known.run_id, written, count)

    def _connect(self, began: int) -> None:
        known = self._known
        if known.run_id and self._has_changed() and not self._tracking.is_active(known.run_id):
            known.forget()
        if known.run_id:
            return
        # Exported by another computer, or our file is lost.
        found = self._tracking.find(self._run.run_id)
        known.run_id, is_new = (found, False) if found else self._tracking.create(self._run.run_id, began)
        self._existing = set() if is_new else self._logged(began)

    _existing: set[tuple[str, int, int, str]] = set()  # noqa: RUF012 - replaced, never changed

    def _logged(self, began: int) -> set[tuple[str, int, int, str]]:
        keys = {point.key for point in values.points(self._paths.metrics, 0, began) if point}
        return self._tracking.logged(self._known.run_id, sorted(keys))

    def _has_changed(self) -> bool:
        return self._known.state != self._state() or self._known.metrics != _stamp(self._paths.metrics)

    def _metrics(self, began: int) -> int:
        stamp = _stamp(self._paths.metrics)
        known = self._known
        if known.metrics == stamp:
            return 0
        if known.metrics and (not stamp or stamp[0] != known.metrics[0] or stamp[1] < known.metrics[1]):
            # Another file, as after a second download.
            known.values = 0
            self._existing = self._logged(began)
        written = 0
        points = values.points(self._paths.metrics, known.values, began)
        while chunk := list(itertools.islice(points, _CHUNK)):
            new = [point for point in chunk if point is not None and _identity(point) not in self._existing]
            self._tracking.log_points(known.run_id, new)
            written += len(new)
            known.values += len(chunk)
            known.write()
        known.metrics = stamp
        return written

    def _parameters(self) -> None:
        if self._known.has_parameters:
            return
        short, long = values.parameters_of(self._run)
        self._tracking.log_parameters(self._known.run_id, short)
        for number, (key, text) in enumerate(sorted(long.items())):
            # The key may have a path in it.
            name = f"{_OWN}/parameters/{number}.txt"
            self._tracking.log_text(self._known.run_id, text, name)
            self._tracking.change_tags(
                self._known.run_id, {f"amlexec.parameter.{number}": f"{key}: {name}"}, ()
            )
        self._known.has_parameters = True

    def _tags(self, wanted: dict[str, str]) -> None:
        before = self._known.tags
        added = {name: text for name, text in wanted.items() if before.get(name) != text}
        removed = [name for name in before if name not in wanted]
        if added or removed:
            self._tracking.change_tags(self._known.run_id, added, removed)
        self._known.tags = wanted

    def _files(self) -> int:
        count = 0
        for path, name in self._artifacts():
            stamp = _stamp(path)[1:]
            if not stamp or self._known.files.get(name) == stamp:
                continue
            self._tracking.log_file(self._known.run_id, path, name.rpartition("/")[0])
            self._known.files[name] = stamp
            count += 1
            if count % 100 == 0:
                self._known.write()
        return count

    def _artifacts(self) -> Iterator[tuple[Path, str]]:
        """The files of the run and their names as artifacts. No link is followed."""
        paths = self._paths
        for path in (paths.record, paths.metrics, paths.stdout, paths.stderr, paths.log):
            if path.is_file() and not path.is_symlink():
                yield path, f"{_OWN}/{path.name}"
        if not paths.outputs.is_dir() or paths.outputs.is_symlink():
            return
        for folder in walk(paths.outputs):
            prefix = f"outputs/{folder.path}/" if folder.path else "outputs/"
            names = [entry.name for entry in folder.others if entry.is_file(follow_symlinks=False)]
            for name in names:
                yield paths.folder / prefix / name, prefix + name

    def _state(self) -> list[object]:
        ended = values.milliseconds(self._run.end_time_utc) if self._run.status in FINAL else None
        return [values.status_of(self._run), ended]

    def _end(self) -> None:
        state = self._state()
        if self._known.state == state:
            return
        ended = state[1]
        if ended is None and self._run.status in FINAL:
            ended = values.milliseconds(self._run.start_time_utc or self._run.created_utc)
        self._tracking.set_state(self._known.run_id, str(state[0]), ended if isinstance(ended, int) else None)
        self._known.state = state


def _identity(point: values.Point) -> tuple[str, int, int, str]:
    return point.key, point.timestamp, point.step, repr(point.value)


def _stamp(path: Path) -> list[int]:
    """Inode, size and time of change; nothing for a missing file."""
    try:
        status = path.lstat()
    except OSError:
        return []
    return [status.st_ino, status.st_size, status.st_mtime_ns]
