"""A sweep that is killed at any step, again and again, executes every point once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE
from tests.sweeps.test_sweep import Swept

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """\
import os, signal, subprocess, sys

left = int(sys.argv.pop(1))


def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call


for name in ("fsync", "rename", "replace", "mkdir", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
subprocess.Popen.__init__ = counted(subprocess.Popen.__init__)
from amlexec import cli

code = cli.run(sys.argv[1:])
sys.stderr.write(f"{left} left\\n")
os._exit(code)
"""
"""Runs amlexec, and kills itself before a step that changes files or starts a process."""
POINTS = 2
STEPS = range(1, 160, 1 if os.environ.get("AMLEXEC_TEST_ALL_CRASHES") else 13)


def killed(swept: Swept, step: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", KILLED, str(step), "experiment", "sweep", *arguments]
    return subprocess.run(command, cwd=swept.root, capture_output=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("step", STEPS)
def test_a_sweep_that_is_killed_three_times(step: int, tmp_path: Path) -> None:
    swept = Swept(tmp_path / "iris")
    jobs = ("-j", str(1 + step % 2))
    done = killed(swept, step, "-c", "local", *jobs, "train.py", "--lr", f"1..{POINTS}")
    assert done.returncode in {-9, 0}, done.stderr
    if not (swept.root / ".amlexec/sweeps").exists() or not swept.status_or_none():
        assert swept.calls() == [], "something ran without a sweep"
        return
    for _ in range(2):
        done = killed(swept, step, "--resume", "last")
        assert done.returncode in {-9, 0}, done.stderr
    last = swept.amlexec("experiment", "sweep", "--resume", "last")
    assert last.code == 0, last.err
    assert [number for number, _ in swept.calls()] == [*range(1, POINTS + 1)]
    records = [swept.record(run)["sweep"]["number"] for run in swept.run_ids() if not run.startswith(".")]
    assert sorted(records) == [*range(1, POINTS + 1)]
    assert swept.status()["counts"] == {"Completed": POINTS}


def test_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    swept = Swept(tmp_path / "iris")
    assert swept.sweep("--fail-fast", "train.py", "--lr", "1,bad,3").code == 1
    journal = next((swept.root / ".amlexec/sweeps").glob("*/journal.jsonl"))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"event": "claim", "point": 3, "wi')
    assert swept.status()["counts"] == {"Completed": 1, "Failed": 1, "Pending": 1}
    done = swept.amlexec("experiment", "sweep", "--resume", "last")
    assert "1 of 3 points failed" in done.err
    lines = journal.read_bytes()
    assert lines.startswith(whole)
    assert all(json.loads(line) for line in lines.splitlines())
    assert [number for number, _ in swept.calls()] == [1, 2, 3]


def test_a_damaged_sweep_is_one_line(tmp_path: Path) -> None:
    swept = Swept(tmp_path / "iris")
    assert swept.sweep("train.py", "--lr", "1,2").code == 0
    assert swept.sweep("train.py", "--lr", "1,2").code == 0
    damaged = min((swept.root / ".amlexec/sweeps").iterdir())
    definition = json.loads((damaged / "sweep.json").read_text())
    for wrong in (
        "{",
        "[]",
        json.dumps({**definition, "jobs": "x"}),
        json.dumps({**definition, "id": "sweep_1"}),
    ):
        (damaged / "sweep.json").write_text(wrong)
        listed = swept.amlexec("sweep", "list", "-o", "json")
        assert len(json.loads(listed.out)) == 1
        assert len(listed.err.splitlines()) == 1
        assert "this sweep can't be read" in listed.err
        assert swept.amlexec("experiment", "sweep", "--resume", damaged.name).code == 2
