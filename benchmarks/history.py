"""`amlexec history last` in a project with many runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.history import find, folders
from amlexec.model import Project
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, run, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    root = new_project(folder / "project")
    run(Command((script("amlexec"), "experiment", "submit", "-c", "local", "train.py"), root))
    project = Project(str(root.resolve()))
    record = folders.read(find.find(project, "last"))
    for number in range(1, sizes.runs):
        # Runs as the first one, each a second older: what is measured is the reading of them.
        _, _, held = folders.create(project, record, _milliseconds(record.run_id) - 1000 * number)
        held.release()
    nobody = Peer("", None)
    most = Figure("ms", 60)
    for verb, wanted in (("last", most), ("list", Figure("ms", None))):
        command = Command((script("amlexec"), "history", verb), root)
        yield compared(f"amlexec history {verb}, {sizes.runs} runs", command, nobody, wanted, rounds)


def _milliseconds(run_id: str) -> int:
    return int(run_id.rpartition("_")[2])
