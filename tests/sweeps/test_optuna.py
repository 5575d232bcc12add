"""Optuna chooses points by their metric, and goes on after an interrupt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.test_sweep import Swept

SCRIPT = """\
import sys
from amlexec.run import log

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if float(given["--x"]) > 9.5:
    sys.exit("diverged")
log("loss", (float(given["--x"]) - 3) ** 2 + {"a": 0, "b": 5}[given["--kind"]])
"""
SPACE = ("train.py", "--x", "0.0..10.0", "--kind", "a,b", "--depth", "1..9", "--drop", "0..1:0.1")
OPTIONS = ("--seed", "1", "--metric", "loss", "--goal", "minimize")


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    project = Swept(tmp_path / "iris")
    project.write("train.py", SCRIPT)
    return project


def test_it_finds_good_points(swept: Swept) -> None:
    done = swept.sweep("--optuna", "24", "-j", "2", *OPTIONS, *SPACE)
    assert done.code in {0, 1}, done.err
    found = swept.status()
    points = [point["parameters"] for point in found["points"]]
    assert len(points) == len({tuple(point.values()) for point in points}) == len(swept.run_ids()) == 24
    assert {type(point["depth"]) for point in points} == {int}
    assert all(round(point["drop"], 1) == point["drop"] for point in points)
    late = [point["metric"] for point in found["points"][12:] if point["metric"] is not None]
    early = [point["metric"] for point in found["points"][:10] if point["metric"] is not None]
    assert sum(late) / len(late) < sum(early) / len(early), "it learns"
    assert swept.record(found["best"]["run_id"])["sweep"]["parameters"]["kind"] == "a"


def test_it_goes_on_where_it_stopped(swept: Swept) -> None:
    script = swept.root / "train.py"
    script.write_text(
        "import os\nimport sys\nif os.environ['AMLEXEC_TRIAL_NUMBER'] == '4':\n    sys.exit(3)\n" + SCRIPT
    )
    done = swept.sweep("--optuna", "8", "--fail-fast", *OPTIONS, *SPACE)
    assert done.code == 1, done.err
    before = swept.status()["points"]
    assert len(before) == 4
    assert swept.amlexec("experiment", "sweep", "--resume", "last", "--fail-fast").code == 1
    found = swept.status()["points"]
    assert found[:4] == before
    assert len({tuple(point["parameters"].values()) for point in found}) == len(swept.run_ids()) == 8


def test_a_small_space_is_searched_once(swept: Swept) -> None:
    done = swept.sweep("--optuna", "50", *OPTIONS, "train.py", "--x", "1..3", "--kind", "a,b")
    assert done.code == 0, done.err
    points = {tuple(point["parameters"].values()) for point in swept.status()["points"]}
    assert points == {(x, kind) for x in (1, 2, 3) for kind in "ab"}
    assert len(swept.run_ids()) == 6


def test_its_pruner_stops_runs(swept: Swept) -> None:
    swept.write(
        "train.py",
        "import sys, threading\nfrom amlexec.run import log\nlevel = float(sys.argv[2])\n"
        "for _ in range(5):\n    log('loss', level)\n"
        "if level > 5:\n    threading.Event().wait()\n",
    )
    rule = ("--early-stop", "percentile:percentage=50,others=1,delay=1")
    done = swept.sweep("--optuna", "6", "--sampler", "random", *rule, *OPTIONS, "train.py", "--x", "1.0..9.0")
    assert done.code == 0, done.err
    found = swept.status()
    assert found["counts"].get("Stopped", 0) >= 1, done.err
    stopped = next(point for point in found["points"] if point["stopped_early"])
    assert "Optuna's percentile pruner" in stopped["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optuna", "3"], "Optuna needs a metric"),
        (["--optuna", "3", "--sampler", "tep", *OPTIONS], "there is no sampler 'tep'"),
        (["--early-stop", "hyperband", *OPTIONS], "the rule hyperband is one of Optuna"),
        (["--optuna", "3", "--dry-run", *OPTIONS], "there is nothing to list"),
    ],
)
def test_wrong_usage(swept: Swept, arguments: list[str], message: str) -> None:
    done = swept.sweep(*arguments, "train.py", "--x", "1..3", "--kind", "a")
    assert (done.code, swept.run_ids()) == (3, [])
    assert message in done.err


def test_grid_and_random_work_without_it(swept: Swept) -> None:
    """With only the packages that amlexec itself needs."""
    blocked = (
        "import sys; sys.modules['optuna'] = None; from amlexec import cli; sys.exit(cli.run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", blocked, "experiment", "sweep", "-c", "local"]
    space = ["train.py", "--x", "1,2", "--kind", "a"]
    done = subprocess.run([*command, *space], cwd=swept.root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [*command, "--optuna", "2", *OPTIONS, *space], cwd=swept.root, capture_output=True, check=False
    )
    assert done.returncode == 3
    assert b"pip install 'amlexec[optuna]'" in done.stderr
