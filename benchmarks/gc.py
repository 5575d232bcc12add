"""`amlexec gc`: the plan for many runs, the removal of many files, a submit after snapshots were packed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from amlexec import git
from amlexec.history import find, folders
from amlexec.snapshots import store
from amlexec.values import Project
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, run, script

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from amlexec.history.record import Run

__all__ = ["rows"]

GC = (script("amlexec"), "gc")
SUBMIT = (script("amlexec"), "experiment", "submit", "-c", "local", "train.py")
_FILES_OF_A_RUN = 100


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    root = _with_runs(folder / "many", sizes.kept_runs)
    nobody, second = Peer("", None), Figure("ms", 1000)
    count = f"{sizes.kept_runs:,} runs"
    yield compared(f"amlexec gc --plan, {count}", Command((*GC, "--plan"), root), nobody, second, rounds)
    rule = (*GC, "--plan", "--keep-last", "100")
    yield compared(f"amlexec gc --plan --keep-last 100, {count}", Command(rule, root), nobody, second, rounds)
    yield _removal(folder, sizes.removed_files)
    yield from _submits(folder, rounds, sizes.versions)


def _with_runs(root: Path, count: int) -> Path:
    """A project with that many runs, each with a snapshot of its own."""
    project, record = _first_run(root)
    assert record.snapshot is not None
    trees = _trees(project, record.snapshot.tree, count)
    for number, tree in enumerate(trees, 1):
        copied = record._replace(snapshot=record.snapshot._replace(tree=tree))
        _, _, held = folders.create(project, copied, _milliseconds(record.run_id) - 1000 * number)
        held.release()
    return root


def _first_run(root: Path) -> tuple[Project, Run]:
    new_project(root)
    run(Command(SUBMIT, root))
    project = Project(str(root.resolve()))
    return project, folders.read(find.find(project, "last"))


def _trees(project: Project, tree: str, count: int) -> Sequence[str]:
    """Trees that differ in the name of a folder."""
    lines = "\n\n".join(f"040000 tree {tree}\tversion-{number}" for number in range(count)) + "\n"
    with store.opened(project) as opened:
        made = git.git(
            ["mktree", "--batch"],
            folder=project.root,
            environment=opened.environment(project.root),
            input=lines.encode(),
        )
    return made.decode().split()


def _removal(folder: Path, files: int) -> Row:
    """Once, because what is removed is gone; beside `rm -rf` of as many files."""
    project, record = _first_run(folder / "large")
    copies = folder / "copies"
    for number in range(max(1, files // _FILES_OF_A_RUN)):
        paths, _, held = folders.create(project, record, _milliseconds(record.run_id) - 1000 * (number + 1))
        held.release()
        for outputs in (paths.outputs, copies / str(number)):
            outputs.mkdir(parents=True)
            for name in range(_FILES_OF_A_RUN):
                (outputs / f"{name}.txt").write_bytes(b"output\n" * 100)
    os.sync()
    theirs = run(Command(("rm", "-rf", str(copies)), folder))
    ours = run(Command((*GC, "--keep-last", "0"), folder / "large"))
    bare = run(Command((sys.executable, "-c", "pass"), folder))
    name = f"amlexec gc --keep-last 0, {files:,} files"
    return Row(name, ours, "rm -rf", theirs, ours, Figure("ms", 10_000), bare, 1)


def _submits(folder: Path, rounds: int, versions: int) -> Iterator[Row]:
    """Submits of a project of which many snapshots were packed, beside one where they were not."""
    roots = [folder / "packed", folder / "loose"]
    _first_run(roots[0])
    (roots[0] / "model.bin").write_bytes(os.urandom(5_000_000))
    for _ in range(versions):
        (roots[0] / "data.bin").write_bytes(os.urandom(100_000))
        run(Command(SUBMIT, roots[0]))
    time.sleep(2)  # until stat data alone says that a file is unchanged
    run(Command(SUBMIT, roots[0]))
    shutil.copytree(roots[0], roots[1], symlinks=True)
    run(Command(GC, roots[0]))
    for root in roots:
        run(Command(SUBMIT, root))
    yield compared(
        f"amlexec experiment submit, {versions} packed snapshots",
        Command(SUBMIT, roots[0]),
        Peer("not packed", Command(SUBMIT, roots[1])),
        Figure("ratio", 1.05),
        rounds,
    )


def _milliseconds(run_id: str) -> int:
    return int(run_id.rpartition("_")[2])
