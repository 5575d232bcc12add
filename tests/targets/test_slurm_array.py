"""Sweeps on a Slurm cluster: their points are the elements of one job array, and each is a run of its own."""

from __future__ import annotations

import json
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PATIENCE, eventually
from tests.engines.ssh_host import QUIET

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.conftest import Done
    from tests.support.slurm import Lab

SCRIPT = """\
import os, sys, time
from amlexec.run import log

number, name = os.environ["AMLEXEC_TRIAL_NUMBER"], sys.argv[-1]
with open(os.path.expanduser("~/seen-" + sys.argv[1]), "a") as file:
    file.write(number + "\\n")
print("point", number, os.environ["AZUREML_SWEEP_lr"], repr(name), flush=True)
log("accuracy", float(os.environ["AZUREML_SWEEP_lr"]))
with open("outputs/of.txt", "w") as file:
    file.write(os.uname().nodename + " " + os.path.basename(os.path.dirname(os.getcwd())))
if name == "fail":
    sys.exit("no luck")
while name == "wait" and not os.path.exists(os.path.expanduser("~/go-" + sys.argv[1])):
    time.sleep(0.05)
"""


ODD = "a b\n'c' $HOME"


class Swept:
    """Sweeps of one project."""

    def __init__(self, lab: Lab, word: str) -> None:
        self.lab, self.word = lab, word
        lab.write("train.py", SCRIPT)

    def words(self, *options: str, points: int, last: str = "end") -> tuple[str, ...]:
        """The arguments of a sweep."""
        values = ("--lr", f"1..{points}")
        return ("experiment", "sweep", "-c", "lab", *options, "train.py", self.word, *values, last)

    def sweep(self, *options: str, points: int, last: str = "end") -> Done:
        """Execute one to its end."""
        return self.lab.amlexec(*self.words(*options, points=points, last=last))

    def begin(self, *options: str, points: int) -> subprocess.Popen[bytes]:
        """Begin one whose scripts wait, until it was submitted and as many run as may."""
        words = self.words(*options, points=points, last="wait")
        process = self.lab.start(sys.executable, "-m", "amlexec", *words)
        assert process.stderr is not None
        for line in process.stderr:
            if b"were submitted as the job" in line:
                return process
        raise AssertionError("it was not submitted")

    def resume(self, *options: str) -> Done:
        """Continue the last one."""
        return self.lab.amlexec("experiment", "sweep", "--resume", "last", *options)

    def go(self) -> None:
        """Let the scripts end."""
        self.lab.head.ssh(f"touch go-{self.word}", QUIET)

    def seen(self) -> list[int]:
        """The points whose script was executed, each as often as it was."""
        return sorted(
            int(each) for each in self.lab.head.ssh(f"cat seen-{self.word} 2>/dev/null || :", QUIET).split()
        )

    def counts(self) -> dict[str, int]:
        """The points by status."""
        return self.status()["counts"]

    def status(self) -> dict[str, Any]:
        """The last sweep."""
        found: dict[str, Any] = json.loads(self.lab.amlexec("sweep", "status", "-o", "json").out)
        return found

    def records(self) -> list[dict[str, Any]]:
        """The records of all runs, by point."""
        found = [self.lab.record(run_id) for run_id in self.lab.run_ids()]
        return sorted(found, key=lambda record: record["sweep"]["number"])

    def queue(self) -> list[str]:
        """The elements that Slurm has and that have not ended."""
        return self.lab.head.ssh("squeue -r -h -o %i", QUIET).split()

    def left(self) -> str:
        """What the cluster has of runs and arrays."""
        return self.lab.head.ssh(
            "ls -A .amlexec/arrays 2>/dev/null; ls .amlexec/runs | grep ^demo || :", QUIET
        )


@pytest.fixture
def swept(lab: Lab, request: pytest.FixtureRequest) -> Swept:
    """A project whose sweeps have a word of their own on the cluster."""
    lab.head.ssh("rm -rf .amlexec/arrays/* .amlexec/runs/*", QUIET)
    return Swept(lab, re.sub(r"\W", "", request.node.name))


def test_a_sweep_is_one_job_array(swept: Swept, program: Callable[[str, str], None]) -> None:
    program("sbatch", '#!/bin/sh\necho "$*" >>/tmp/sbatch-calls\nexec /usr/bin/sbatch "$@"\n')
    swept.lab.head.ssh(": >/tmp/sbatch-calls; chmod 666 /tmp/sbatch-calls")
    swept.lab.write(
        "aml_config/lab.runconfig",
        'Target: lab\nFramework: Python\nEnvironmentVariables: {MINE: "it\'s\\n$HOME"}\n',
    )
    options = ("-j", "4", "--metric", "accuracy", "--goal", "maximize")
    done = swept.sweep(*options, points=6, last=ODD)
    assert done.code == 0, done.err
    assert "6 points were submitted as the job " in done.err
    (call,) = swept.lab.head.ssh("cat /tmp/sbatch-calls").splitlines()
    assert "--array=0-5%4 " in call
    records = swept.records()
    assert [record["status"] for record in records] == ["Completed"] * 6
    assert [record["metrics"] for record in records] == [{"accuracy": float(point)} for point in range(1, 7)]
    for number, record in enumerate(records, 1):
        folder = swept.lab.run_folder(record["run_id"])
        assert (folder / "stdout.log").read_text() == f"point {number} {number} {ODD!r}\n"
        node, run_id = (folder / "outputs/of.txt").read_text().split()
        assert (node in {"c1", "c2"}, run_id) == (True, record["run_id"])
        assert (record["exit_code"], record["target_kind"]) == (0, "slurm")
        assert record["snapshot"] is not None
    assert swept.status()["best"]["number"] == 6
    assert swept.seen() == [1, 2, 3, 4, 5, 6]
    assert swept.left() == ""


def test_a_sweep_that_is_interrupted_and_continued(swept: Swept) -> None:
    process = swept.begin("-j", "2", points=5)
    eventually(lambda: len(swept.seen()) == 2, "two points run", 0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert re.search(rb"interrupted; [0-2] runs go on and [3-5] wait in the queue", err)
    rows = {row["number"]: row for row in swept.status()["points"]}
    last = rows[5]["run_id"]
    eventually(
        lambda: "Starting  (pending: JobArrayTaskLimit" in swept.lab.status(last), "Slurm says why", 0.2
    )
    canceled = swept.lab.amlexec("experiment", "cancel", "-r", last)
    assert (canceled.code, "Canceled" in canceled.out) == (0, True), canceled.err
    swept.go()
    done = swept.resume()
    assert "1 of 5 points failed" in done.err
    assert swept.counts() == {"Completed": 4, "Canceled": 1}
    assert swept.seen() == [1, 2, 3, 4]
    again = swept.resume("--retry")
    assert again.code == 0, again.err
    assert swept.seen() == [1, 2, 3, 4, 5]


KILLED = """\
import os, signal, sys
from amlexec.targets.slurm import SlurmTarget

name, is_before = sys.argv[1], sys.argv[2] == "before"
done = getattr(SlurmTarget, name)


def call(*arguments):
    if not is_before:
        done(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


setattr(SlurmTarget, name, call)
from amlexec import cli

sys.exit(cli.run(sys.argv[3:]))
"""
"""Runs amlexec, which is killed before or after an operation of its target."""


@pytest.mark.parametrize(
    ("operation", "when", "cleans"),
    [
        ("stage_many", "before", False),
        ("stage_many", "after", False),
        ("stage_many", "after", True),
        ("start_many", "before", False),
        ("start_many", "after", False),
    ],
)
def test_a_client_that_is_killed_while_it_submits(
    swept: Swept, operation: str, when: str, *, cleans: bool
) -> None:
    words = swept.words(points=3)
    process = swept.lab.start(sys.executable, "-c", KILLED, operation, when, *words)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    if cleans:
        assert ".points" in swept.left()
        found = json.loads(swept.lab.amlexec("gc", "--keep-last", "0", "-o", "json").out)
        kinds = [entry["kind"] for entry in found["removed"] if entry["place"] == "lab"]
        assert sorted(kinds) == ["array", "copy", "copy", "copy"]
        assert (swept.left(), swept.lab.run_ids()) == ("", [])
    done = swept.resume()
    assert done.code == 0, done.err
    assert swept.seen() == [1, 2, 3]
    assert [record["sweep"]["number"] for record in swept.records()] == [1, 2, 3]
    assert ("were submitted" in done.err) == ((operation, when) != ("start_many", "after"))
    assert swept.left() == ""


def test_a_sweep_that_is_canceled_while_nobody_follows_it(swept: Swept) -> None:
    process = swept.begin("-j", "1", points=4)
    eventually(lambda: len(swept.seen()) == 1, "a point runs", 0.1)
    process.kill()
    process.communicate(timeout=PATIENCE)
    done = swept.lab.amlexec("sweep", "cancel")
    assert done.code == 0, done.err
    assert "starts no more runs; 1 were canceled, and 3 were taken out of the queue" in done.out
    assert swept.queue() == []
    assert swept.counts()["Pending"] == 3
    assert [record["status"] for record in swept.records()] == ["Canceled"]
    swept.go()
    again = swept.resume()
    assert "1 of 4 points failed" in again.err
    assert swept.seen() == [1, 2, 3, 4]


def test_a_failure_withdraws_the_points_that_wait(swept: Swept) -> None:
    done = swept.sweep("-j", "1", "--fail-fast", points=40, last="fail")
    # Several may have ended before their state was asked for: any of them is the one that is named.
    why = r"the sweep was stopped: point \d+ is Failed: exit code 1: no luck\n"
    assert (done.code, bool(re.search(why, done.err))) == (1, True), done.err
    counts = swept.counts()
    # Slurm may have started some more meanwhile.
    assert counts["Failed"] == len(swept.seen()) < 40
    assert counts["Pending"] == 40 - counts["Failed"]
    assert swept.queue() == []


def test_an_array_that_sbatch_refuses(swept: Swept) -> None:
    swept.lab.target("partition: nope")
    done = swept.sweep(points=3)
    assert (done.code, "invalid partition specified: nope" in done.err) == (2, True), done.err
    assert swept.counts() == {"Pending": 3}
    assert (swept.lab.run_ids(), swept.left()) == ([], "")
