"""A sweep of trivial runs, beside xargs and Optuna's own loop; and what a large sweep costs by itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from amlexec.history.record import SnapshotRecord, instant
from amlexec.search import grammar
from amlexec.search.space import Parameter
from amlexec.sweeps import store
from amlexec.sweeps.definition import Definition, SweepTarget
from amlexec.sweeps.journal import Journal
from amlexec.values import Project
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, installed, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]

OPTUNA = """\
import subprocess, sys
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    subprocess.run([sys.executable, "train.py", str(trial.suggest_int("n", 1, 10**6))], check=True)
    return 0.0


optuna.create_study(sampler=optuna.samplers.RandomSampler()).optimize(objective, n_trials={runs}, n_jobs=2)
"""
_MOST_PER_RUN = 40.0
"""Milliseconds more than xargs, for each run."""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    project = new_project(folder / "project")
    runs = sizes.points
    sweep = (script("amlexec"), "experiment", "sweep", "-c", "local", "-j", "2", "train.py")
    ours = Command((*sweep, "--n", f"1..{runs}"), project)
    loop = f"seq {runs} | xargs -P 2 -I% {sys.executable} train.py --n %"
    bare = Peer("xargs -P 2", Command(("sh", "-c", loop), project))
    name = f"amlexec experiment sweep, {runs} runs, -j 2"
    yield compared(name, ours, bare, Figure("more ms", _MOST_PER_RUN * runs), rounds)
    (project / "loop.py").write_text(OPTUNA.format(runs=runs), encoding="utf-8")
    study = Command((sys.executable, "loop.py"), project) if installed("optuna") else None
    yield compared(name, ours, Peer("Optuna's loop", study), Figure("ratio", None), rounds)

    plan = Command((*sweep[:-1], "--dry-run", "train.py", "--n", f"1..{sizes.plan}"), project)
    yield compared(f"the list of {sizes.plan} points", plan, Peer("", None), Figure("ms", 1000), rounds)
    _ended(Project(str(project.resolve())), sizes.plan)
    verbs = {"resume": ("experiment", "sweep", "--resume", "last"), "status": ("sweep", "status")}
    for verb, words in verbs.items():
        command = Command((script("amlexec"), *words), project)
        title = f"{verb} of a sweep of {sizes.plan} points"
        yield compared(title, command, Peer("", None), Figure("ms", 3000), rounds)


def _ended(project: Project, points: int) -> None:
    """A sweep whose points have all ended, as its journal has it."""
    domain = grammar.values(f"1..{points}")
    assert domain is not None
    definition = Definition(
        id="",
        created_utc=instant(0.0),
        targets=(SweepTarget("local", "local", ""),),
        script="train.py",
        arguments=("--n", "${{search_space.n}}"),
        parameters=(Parameter("n", domain),),
        search="grid",
        listed=(),
        most_points=0,
        seed=0,
        sampler="",
        metric="accuracy",
        goal="maximize",
        early_stop=None,
        jobs=2,
        fail_fast=False,
        timeout_s=0,
        run_timeout_s=0,
        snapshot=SnapshotRecord("0" * 40, 1, 1),
        source=None,
    )
    paths, _, held = store.create(project, definition)
    journal = Journal(paths.journal)
    for number in range(1, points + 1):
        run = f"project_{number}"
        journal.append("claim", point=number, **{"with": "local"})
        journal.append("start", point=number, run=run)
        ended = {"status": "Completed", "reason": "", "metric": number / points, "duration_s": 0.1}
        journal.append("end", point=number, run=run, **ended)
    journal.close()
    held.release()
