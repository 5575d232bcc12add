"""A trivial script run and recorded with its snapshot, beside the bare one, a plain doit task and sacred."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, installed, run, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]

SCRIPT = 'print("ok")\n'
PLAIN = f"""\
def task_train():
    return {{"actions": [[{sys.executable!r}, "train.py"]], "verbosity": 2}}
"""
SACRED = """\
from sacred import Experiment
from sacred.observers import FileStorageObserver

experiment = Experiment("train")
experiment.observers.append(FileStorageObserver("runs"))


@experiment.automain
def main():
    print("ok")
"""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    del sizes
    project = new_project(folder / "project")
    versioned = new_project(folder / "versioned")
    _commit(versioned)
    bare = Peer("the bare script", Command((sys.executable, "train.py"), project))
    submit = (script("amlexec"), "experiment", "submit", "-c", "local", "train.py")
    most = Figure("more ms", 45)
    yield compared("amlexec experiment submit", Command(submit, project), bare, most, rounds)
    yield compared("the same, in a git repository", Command(submit, versioned), bare, most, rounds)

    plain = folder / "plain"
    plain.mkdir()
    (plain / "train.py").write_text(SCRIPT, encoding="utf-8")
    (plain / "dodo.py").write_text(PLAIN, encoding="utf-8")
    yield compared(
        "doit submit:local",
        Command((script("doit"), "submit:local", "script=train.py"), project),
        Peer("a plain doit task", Command((script("doit"), "train"), plain)),
        Figure("more ms", 50),
        rounds,
    )

    peer = folder / "sacred"
    peer.mkdir()
    (peer / "train.py").write_text(SACRED, encoding="utf-8")
    sacred = Command((sys.executable, "train.py"), peer) if installed("sacred") else None
    yield compared(
        "amlexec experiment submit",
        Command(submit, project),
        Peer("sacred", sacred),
        Figure("ratio", None),
        rounds,
    )


def new_project(folder: Path) -> Path:
    """A project as `amlexec init` makes it, with a script that does nothing much."""
    folder.mkdir()
    run(Command((script("amlexec"), "init"), folder))
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    return folder


def _commit(folder: Path) -> None:
    user = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*user, "commit", "-q", "-m", "begin"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
