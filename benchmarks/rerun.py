"""A recorded run of the iris example run again and compared, beside a submission of its script."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, run, script

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rows"]

IRIS = Path(__file__).parent.parent / "examples/iris"


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    del sizes
    project = folder / "iris"
    shutil.copytree(IRIS, project, ignore=shutil.ignore_patterns(".amlexec", "__pycache__", "verify"))
    submit = Command((script("amlexec"), "experiment", "submit", "-c", "local", "train.py"), project)
    run(submit)
    (first,) = (project / ".amlexec/runs").glob("iris_*")
    name = json.loads((first / "run.json").read_text("utf-8"))["run_id"]
    peer = Peer("amlexec experiment submit", submit)
    for shown, options in (("amlexec experiment rerun", ()), ("the same with --verify", ("--verify",))):
        again = Command((script("amlexec"), "experiment", "rerun", name, *options), project)
        yield compared(shown, again, peer, Figure("ratio", 1.2), rounds)
