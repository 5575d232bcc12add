"""Metrics that other loggers wrote into a run's outputs: TensorBoard's event files, and MLflow's runs."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from amlexec.file_trees import walk
from amlexec.history import mlflow_files
from amlexec.history.metric_lines import Numbers
from amlexec.history.tensorboard import EventFile, is_event_file

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from amlexec.history.metric_lines import Item
    from amlexec.history.mlflow_database import DatabaseRun
    from amlexec.history.mlflow_files import MlflowRun
    from amlexec.history.tensorboard import Scalar

__all__ = ["Source", "is_logged", "sources"]

_MOST_FILES = 1000
"""Event files of a run."""
_BATCH = 10_000


class _Logger(Protocol):
    """The series of one folder."""

    def blocks(self) -> Iterator[Numbers | list[Item]]:
        """Its values. Raises OSError if a file can't be read."""

    def tags(self) -> dict[str, str]:
        """Tags that the script has set with this logger. Raises OSError."""

    def remarks(self) -> list[str]:
        """What could not be read, a sentence each; after `blocks`."""


class Source:
    """Series with the names that they have in the run. What can't be read of them is left out."""

    def __init__(self, kind: str, prefix: str, logger: _Logger, *, is_resumed: bool = False) -> None:
        self._kind, self._prefix, self._logger = kind, prefix, logger
        self.is_resumed = is_resumed
        """Whether steps may occur again, because a script was started again; then the later value counts."""
        self._unread = ""

    def blocks(self, taken: Container[str]) -> Iterator[Numbers | list[Item | None]]:
        """The values. A name in `taken`, of another logger, is preceded by the kind."""

        def named(name: str) -> str:
            name = self._prefix + name
            return f"{self._kind}/{name}" if name in taken else name

        try:
            for block in self._logger.blocks():
                if isinstance(block, Numbers):
                    names = {name: named(name) for name in dict.fromkeys(block.names)}
                    yield block._replace(names=[names[name] for name in block.names])
                else:
                    yield [item._replace(name=named(item.name)) for item in block]
        except OSError as error:
            self._unread = f"{error.filename} could not be read: {error.strerror}"

    def tags(self) -> dict[str, str]:
        """Tags that the script has set with this logger."""
        with contextlib.suppress(OSError):
            return {self._prefix + name: text for name, text in self._logger.tags().items()}
        return {}

    def remarks(self) -> list[str]:
        """What could not be read, a sentence each; after `blocks`."""
        return [*self._logger.remarks(), *([self._unread] if self._unread else [])]


class EventFolder:
    """The event files of a folder, in the order of their names, which begin with a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = [EventFile(path) for path in sorted(files)]

    def blocks(self) -> Iterator[Numbers]:
        """See `_Logger.blocks`."""
        for file in self.files:
            scalars = file.scalars()
            while batch := [*itertools.islice(scalars, _BATCH)]:
                yield _numbers(batch)

    def tags(self) -> dict[str, str]:
        """None: TensorBoard has no tags of runs."""
        return {}

    def remarks(self) -> list[str]:
        """See `_Logger.remarks`."""
        return [
            f"{file.path.name} is damaged: its scalars were read up to byte {file.position}"
            for file in self.files
            if file.is_damaged
        ]


def _numbers(batch: list[Scalar]) -> Numbers:
    tags, steps, times, values = map(list, zip(*batch, strict=True))
    return Numbers(tags, values, times, steps)


def sources(folder: Path) -> list[Source]:
    """What other loggers wrote in the run's folder `folder`, also of a run that goes on here."""
    found = []
    # While a run goes on, its own outputs are still in its copy of the project.
    for outputs in (folder / "outputs", folder / "project" / "outputs"):
        if outputs.is_dir() and not outputs.is_symlink():
            found += [*_events(outputs), *_mlflow(outputs)]
    return found


def is_logged(folder: str, name: str) -> bool:
    """Whether a file below a run's outputs, in this folder of them, may be a logger's."""
    return (
        is_event_file(name)
        or folder.split("/", maxsplit=1)[0] == mlflow_files.FOLDER
        or (not folder and name.startswith("mlflow.db"))
    )


def _nothing(error: OSError) -> None:
    """An unreadable folder is reported where outputs are collected."""


def _events(outputs: Path) -> list[Source]:
    folders: dict[str, list[Path]] = defaultdict(list)
    found = (
        (folder.path, entry.name)
        for folder in walk(outputs, _nothing)
        for entry in folder.others
        if is_event_file(entry.name) and entry.is_file(follow_symlinks=False)
    )
    for place, name in itertools.islice(found, _MOST_FILES):
        if place.split("/")[0] != mlflow_files.FOLDER:
            folders[place].append(outputs / place / name)
    common = os.path.commonpath(folders) if folders else ""
    found_sources = []
    for place, files in sorted(folders.items()):
        inner = place[len(common) :].strip("/")
        logger = EventFolder(files)
        prefix = f"{inner}/" if inner else ""
        found_sources.append(Source("tensorboard", prefix, logger, is_resumed=len(files) > 1))
    return found_sources


def _mlflow(outputs: Path) -> list[Source]:
    runs: list[MlflowRun | DatabaseRun] = [*mlflow_files.runs(outputs)]
    if os.path.lexists(outputs / "mlflow.db"):
        from amlexec.history import mlflow_database  # imports sqlite3

        runs += mlflow_database.runs(outputs)
    if len(runs) == 1:
        return [Source("mlflow", "", runs[0])]
    found = []
    names: set[str] = set()
    for run in runs:
        name = run.name if run.name not in names else f"{run.name} {run.run_id[:8]}"
        names.add(name)
        found.append(Source("mlflow", f"{name}/", run))
    return found
