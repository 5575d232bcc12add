"""Read what MLflow's client wrote into a folder of files, without MLflow.

A run is a folder EXPERIMENT/RUN with `meta.yaml`, a file for each parameter and tag, whose content is the
value, and a file for each metric, whose lines are time (ms), value and step.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.file_trees import walk
from amlexec.files import SMALL, open_regular, read_regular
from amlexec.history.metric_lines import NOT_FINITE, Item, Numbers

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path

__all__ = ["FOLDER", "MOST_RUNS", "MlflowRun", "as_items", "is_own_tag", "runs"]

FOLDER = "mlruns"
"""Below `outputs/`: where MLflow writes in a run of amlexec."""
MOST_RUNS = 1000
_MOST_FILES = 10_000
"""Metrics, parameters or tags of one run."""
_BATCH = 10_000
_LONGEST_LINE = 4096
_START = re.compile(rb"^start_time: ([0-9]{1,15})\s*$", re.MULTILINE)
_DELETED = re.compile(rb"^lifecycle_stage: deleted\s*$", re.MULTILINE)


class MlflowRun(NamedTuple):
    """A run of MLflow."""

    folder: Path
    name: str
    """The name that the script gave it, or the beginning of its id."""
    started: float
    """Seconds since 1970; NaN if unknown."""

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return self.folder.name

    def blocks(self) -> Iterator[Numbers | list[Item]]:
        """Its metrics and parameters. Raises OSError if a file can't be read."""
        metrics = set()
        for name, path in _files(self.folder / "metrics"):
            metrics.add(name)
            yield from _metric(name, path)
        yield as_items(_texts(self.folder / "params"), metrics, self.started)

    def tags(self) -> dict[str, str]:
        """The tags that the script set. Raises OSError."""
        return {name: text for name, text in _texts(self.folder / "tags") if not is_own_tag(name)}

    def remarks(self) -> list[str]:
        """None: a file that can't be read is an error."""
        return []


def is_own_tag(name: str) -> bool:
    """Whether MLflow sets a tag of that name itself."""
    return name.startswith("mlflow.")


def as_items(parameters: Iterable[tuple[str, str]], metrics: Container[str], time: float) -> list[Item]:
    """Parameters as metrics with one value; one with the name of a metric is named `params/NAME`."""
    return [
        Item(f"params/{name}" if name in metrics else name, _value(text), time, None, "", 0)
        for name, text in parameters
    ]


def runs(outputs: Path) -> list[MlflowRun]:
    """The runs of MLflow in a run's outputs, oldest first. Unreadable folders are left out."""
    found = []
    for experiment in _folders(outputs / FOLDER):
        for folder in _folders(experiment):
            if (run := _run(folder)) is not None:
                found.append(run)
            if len(found) == MOST_RUNS:
                break
    return sorted(found, key=lambda run: (run.started, run.folder.name))


def _run(folder: Path) -> MlflowRun | None:
    """The run in a folder; None if it is not one, or was deleted."""
    try:
        meta = read_regular(folder / "meta.yaml", SMALL, follow=False)
    except OSError:
        return None
    if _DELETED.search(meta):
        return None
    started = _START.search(meta)
    name = folder.name[:8]
    # An early version may have none.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        name = read_regular(folder / "tags" / "mlflow.runName", SMALL, follow=False).decode() or name
    return MlflowRun(folder, name, int(started[1]) / 1000 if started else math.nan)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; links are left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each file below a folder; the name of `acc/top1` has a slash."""
    if root.is_symlink() or not root.is_dir():
        return
    found = (
        f"{folder.path}/{entry.name}".lstrip("/")
        for folder in walk(root)
        for entry in folder.others
        if entry.is_file(follow_symlinks=False)
    )
    for name in sorted(itertools.islice(found, _MOST_FILES)):
        yield name, root / name


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    for name, path in _files(root):
        yield name, read_regular(path, SMALL, follow=False).decode("utf-8", "replace")


def _metric(name: str, path: Path) -> Iterator[Numbers]:
    with open_regular(path, follow=False) as file:
        lines = iter(lambda: file.readline(_LONGEST_LINE), b"")
        while batch := [*itertools.islice(lines, _BATCH)]:
            points = [point for line in batch if (point := _point(line)) is not None]
            if points:
                times, values, steps = map(list, zip(*points, strict=True))
                yield Numbers([name] * len(points), values, times, steps)


def _point(line: bytes) -> tuple[float, float, float] | None:
    """Time, value and step of a line; None if it is something else, or is still being written."""
    words = line.split()
    if len(words) < 2 or not line.endswith(b"\n"):
        return None
    try:
        return int(words[0]) / 1000, float(words[1]), int(words[2]) if len(words) > 2 else 0
    except (ValueError, OverflowError):
        return None


def _value(text: str) -> object:
    """The value of a parameter: a number if it is one in JSON, else the text."""
    try:
        number = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_number = type(number) is int or (type(number) is float and math.isfinite(number))
    return number if is_number or text in NOT_FINITE else text
