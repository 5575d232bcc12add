"""The verbs of a job, with other programs in the place of Slurm's, for what the tests' cluster can't show.

That is accounting, several clusters behind one login node, and failures of squeue.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from amlexec.runtime import HERE
from amlexec.targets.slurm_state import Facts, read_facts

RUN = "demo_1700000000000"
VERBS = "".join((HERE / name).read_text() for name in ("identity.sh", "host.sh", "slurm.sh"))


class Login:
    """A login node: a home with one run, and programs that write down their arguments."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.control = home / ".amlexec/runs" / RUN / "control"
        self.control.mkdir(parents=True)
        (home / "bin").mkdir()
        (self.control / "submitted").write_text("1700000000 0\n")
        (self.control / "job").write_text("12\n")

    def program(self, name: str, text: str) -> None:
        """A program, and the file with the arguments of its calls."""
        path = self.home / "bin" / name
        path.write_text(f'#!/bin/sh\necho "$*" >>{self.home}/{name}.calls\n{text}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """The arguments of a program's calls."""
        path = self.home / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def facts(self, **variables: str) -> Facts:
        """What `state` prints of the run."""
        path = f"{self.home}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-s", RUN, "0"],
            input=f'{VERBS}\nstate "$@"\n'.encode(),
            env={"HOME": str(self.home), "PATH": path, "TZ": "UTC", **variables},
            capture_output=True,
            check=True,
        )
        return read_facts(done.stdout.decode().splitlines()[0], "lab")


@pytest.fixture
def login(tmp_path: Path) -> Login:
    """A login node whose Slurm has forgotten the job."""
    made = Login(tmp_path)
    made.program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    made.program("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    return made


def test_a_job_that_only_the_accounting_has(login: Login) -> None:
    rows = "PREEMPTED|0:15|c1|1700000100|1700000200\nTIMEOUT|0:9|c2|1700000300|1700000400"
    login.program("sacct", f"case $* in *-j*) printf '%s\\n' '{rows}' ;; esac")
    found = login.facts()
    # The last of several records of a requeued job.
    assert (found.state, found.exit, found.nodes, found.slurm_ended) == ("TIMEOUT", "0:9", "c2", 1700000400.0)
    # A day before the submission: without a start, sacct shows only today's jobs.
    assert "-X -P -n -D -S 2023-11-13T22:13:20 -j 12 -o State,ExitCode,NodeList,Start,End" in login.calls(
        "sacct"
    )


def test_a_job_that_nobody_has(login: Login) -> None:
    found = login.facts()
    assert (found.state, found.failure, found.job) == ("gone", "", "12")


def test_another_cluster_behind_the_login_node(login: Login) -> None:
    (login.control / "job").write_text("12;big\n")
    login.program("squeue", "echo 'OUT_OF_MEMORY|n1|1700000000|OutOfMemory'")
    login.program("scontrol", "echo 'JobId=12 JobState=OUT_OF_MEMORY ExitCode=0:125 EndTime=1700000400'")
    found = login.facts()
    assert (found.state, found.exit, found.job) == ("OUT_OF_MEMORY", "0:125", "12")
    assert login.calls("squeue") == ["-Mbig -h -t all -j 12 -o %T|%N|%S|%r"]
    assert login.calls("scontrol") == ["-Mbig -o show job 12"]


def test_slurm_that_fails(login: Login) -> None:
    login.program("squeue", "echo 'squeue: error: Munge decode failed: Expired credential' >&2; exit 1")
    found = login.facts()
    assert (found.state, found.failure) == ("", "squeue: error: Munge decode failed: Expired credential")


def test_settings_of_the_user_and_of_an_outer_job_do_not_count(login: Login) -> None:
    login.program("squeue", "env >$HOME/environment; echo 'RUNNING|c1|1700000000|None'")
    settings = {"SQUEUE_FORMAT": "%i", "SLURM_JOB_ID": "5", "SBATCH_PARTITION": "x", "SLURM_CONF": "/c"}
    assert login.facts(**settings).state == "RUNNING"
    names = {line.partition("=")[0] for line in (login.home / "environment").read_text().splitlines()}
    assert {name for name in names if name.startswith("S") and "_" in name} == {
        "SLURM_CONF",
        "SLURM_TIME_FORMAT",
    }


def test_tabs_and_lines_in_an_answer(login: Login) -> None:
    login.program("squeue", "printf 'PENDING||N/A|a\\treason|with a bar\\n'")
    assert login.facts().reason == "a reason|with a bar"
