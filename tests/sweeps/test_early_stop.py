"""Early stopping: the rules, and runs that are stopped because of what they log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from amlexec.errors import UsageError
from amlexec.search.early_stop import Trace, parsed, reason_to_stop
from tests.sweeps.test_sweep import Swept

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Done


def stops(rule: str, curve: list[float], others: list[list[float]], goal: str = "maximize") -> str:
    def trace(values: list[float]) -> Trace:
        found = Trace(goal)
        for value in values:
            found.add(value)
        return found

    return reason_to_stop(parsed(rule), goal, len(curve), trace(curve), [trace(each) for each in others])


GOOD = [0.5, 0.6, 0.7, 0.8, 0.9, 0.9]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_the_median_rule(goal: str) -> None:
    sign = 1 if goal == "maximize" else -1

    def curve(*values: float) -> list[float]:
        return [sign * value for value in values]

    others = [curve(*GOOD)] * 5
    bad = curve(0.1, 0.1, 0.2, 0.2, 0.2, 0.2)
    assert "is worse than the median of 5 others" in stops("median", bad, others, goal)
    assert not stops("median", bad[:5], others, goal), "the first values don't count"
    assert stops("median:delay=2", bad[:3], others, goal)
    assert not stops("median", bad, others[:4], goal), "too few others"
    assert not stops("median", bad, [each[:5] for each in others], goal), "none has come as far"
    assert not stops("median", curve(0.1, 0.9, 0.1, 0.1, 0.1, 0.1), others, goal), "its best counts"
    assert not stops("median:delay=0,interval=4", bad, others, goal)
    assert stops("median:delay=0,interval=3", bad, others, goal)


def test_successive_halving() -> None:
    others = [[value] * 9 for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert stops("halving", [0.3], others)
    assert not stops("halving", [0.5], others)
    assert not stops("halving", [0.45], others), "two of six go on"
    assert not stops("halving", [0.0, 0.0], others), "2 is no rung: 1, 3, 9"
    assert stops("halving", [0.0, 0.0, 0.0], others)
    assert stops("halving:first=2,factor=2", [0.0, 0.0], others)
    assert not stops("halving", [0.0], []), "the only one goes on"


def test_the_bandit_rule() -> None:
    assert stops("bandit:slack_factor=0.1", [0.8], [[1.0]])
    assert not stops("bandit:slack_factor=0.1", [0.95], [[1.0]])
    assert stops("bandit:slack_amount=0.1", [1.2], [[1.0]], "minimize")
    assert not stops("bandit:slack_factor=0.3", [1.2], [[1.0]], "minimize")
    assert stops("bandit:slack_factor=0.1", [-2.0], [[-1.0]])
    assert not stops("bandit:slack_factor=0.1", [-1.05], [[-1.0]])
    assert not stops("bandit:slack_factor=0.1", [5.0], [])


def test_the_truncation_rule() -> None:
    others = [[value] for value in (0.1, 0.2, 0.3, 0.4)]
    assert stops("truncation:percentage=20", [0.0], others)
    assert not stops("truncation:percentage=20", [0.15], others)
    assert stops("truncation:percentage=40", [0.15], others)


def test_what_is_not_a_number_is_the_worst() -> None:
    assert stops("bandit:slack_amount=1", [math.nan], [[-100.0]])
    assert stops("halving", [math.nan], [[0.1]])
    assert not stops("halving", [0.1], [[math.nan]])
    assert not stops("bandit:slack_amount=1", [0.1], [[math.nan]])


@pytest.mark.parametrize(
    "rule",
    [
        "medain",
        "median:delay",
        "median:delay=x",
        "median:slack=1",
        "median:interval=0",
        "median:delay=1.5",
        "halving:factor=1",
        "bandit",
        "bandit:slack_factor=1,slack_amount=1",
        "truncation",
        "truncation:percentage=100",
    ],
)
def test_a_wrong_rule(rule: str) -> None:
    with pytest.raises(UsageError):
        parsed(rule)


SCRIPT = """\
import sys, threading
from amlexec.run import log

level = float(sys.argv[2])
for step in range(8):
    log("accuracy", level)
if level < 0.5:
    threading.Event().wait()  # it never ends by itself
"""


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    project = Swept(tmp_path / "iris")
    project.write("train.py", SCRIPT)
    return project


def sweep(swept: Swept, rule: str, *points: str) -> Done:
    options = ("--metric", "accuracy", "--goal", "maximize", "--early-stop", rule)
    return swept.sweep(*options, "train.py", "--level", *points)


@pytest.mark.parametrize("rule", ["median:others=2", "halving", "bandit:slack_amount=0.2"])
def test_a_run_that_is_behind_is_stopped(swept: Swept, rule: str) -> None:
    done = sweep(swept, rule, "0.8,0.9,0.1,0.95,0.2")
    assert done.code == 0, done.err
    found = swept.status()
    assert found["counts"] == {"Completed": 3, "Stopped": 2}, done.err
    assert found["best"]["number"] == 4
    stopped = found["points"][2]
    record = swept.record(stopped["run_id"])
    assert (record["status"], record["reason"]) == ("Canceled", stopped["reason"])
    assert stopped["reason"].startswith("stopped early after")
    assert len(swept.run_ids()) == 5
    # It did what was wanted, and is not tried again.
    again = swept.amlexec("experiment", "sweep", "--resume", "last", "--retry")
    assert (again.code, len(swept.run_ids())) == (0, 5)


def test_early_stop_needs_a_metric(swept: Swept) -> None:
    done = swept.sweep("--early-stop", "median", "train.py", "--level", "1,2")
    assert (done.code, swept.run_ids()) == (3, [])
    assert "--early-stop needs a metric" in done.err


def test_time_limits(swept: Swept) -> None:
    done = swept.sweep("--run-timeout", "1", "train.py", "--level", "0.9,0.1")
    assert done.code == 0, done.err
    point = swept.status()["points"][1]
    assert (point["stopped_early"], point["reason"]) == (True, "stopped after its time limit of 1 s")
    assert swept.record(point["run_id"])["reason"] == point["reason"]
    done = swept.sweep("--timeout", "1", "--run-timeout", "2", "train.py", "--level", "0.1,0.2,0.3")
    assert done.code == 1
    assert "the time limit of 1 s is over" in done.err
    assert swept.status()["counts"] == {"Stopped": 1, "Pending": 2}
