"""The verbs of a job, with other programs in the place of Slurm's, for what the tests' cluster can't show.

That is accounting, several clusters behind one login node, and failures of squeue.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from amlexec.errors import UnreachableError
from amlexec.runtime import HERE
from amlexec.targets.slurm_state import JobFacts, judged, read_facts

RUN = "demo_1700000000000"
VERBS = "".join(
    (HERE / name).read_text()
    for name in ("identity.sh", "host.sh", "slurm.sh", "slurm_many.sh", "slurm_array.sh")
)


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

    def call(self, verb: str, *words: str, asked: str = "", **variables: str) -> list[str]:
        """The lines that a verb prints; `asked` is its standard input."""
        path = f"{self.home}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", f'{VERBS}\n{verb} "$@"\n', "sh", *words],
            input=asked.encode(),
            env={"HOME": str(self.home), "PATH": path, "TZ": "UTC", **variables},
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().splitlines()

    def facts(self, **variables: str) -> JobFacts:
        """What `state` prints of the run."""
        return read_facts(self.call("state", RUN, "0", **variables)[0], "lab")

    def run(self, number: int, **files: str) -> str:
        """Another run, an element of the array 36, with these control files; its id."""
        run_id = f"demo_{number}"
        control = self.home / ".amlexec/runs" / run_id / "control"
        control.mkdir(parents=True)
        array = self.home / ".amlexec/arrays/demo_1.points"
        array.mkdir(parents=True, exist_ok=True)
        for path, text in (("job", "36"), ("submitted", "1700000000 0")):
            (array / path).write_text(f"{text}\n")
        for name, text in {"array": f"demo_1.points {number}", **files}.items():
            (control / name).write_text(f"{text}\n")
        return run_id

    def states(self, *run_ids: str) -> dict[str, JobFacts | str]:
        """What `states` prints of many runs."""
        lines = self.call("states", asked="".join(f"{run_id} 0\n" for run_id in run_ids))
        found = dict(zip(lines[::2], lines[1::2], strict=True))
        return {run: read_facts(text, "lab") if "\t" in text else text for run, text in found.items()}


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


REFUSED = "echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1"


@pytest.mark.parametrize(
    ("program", "text", "said"),
    [
        ("sacct", f"case $* in *-j*) {REFUSED} ;; esac", "Problem talking to the database"),
        ("sacct", REFUSED, "Problem talking to the database"),
        # As if it had hung.
        ("timeout", 'shift; case "$*" in sacct*-j*) exit 124 ;; esac; exec "$@"', "it took too long"),
    ],
)
def test_accounting_that_does_not_answer(login: Login, program: str, text: str, said: str) -> None:
    """The job may have ended in any way: that says nothing of the run. A job that squeue has is told."""
    login.program("sacct", "")
    login.program(program, text)
    found = login.facts()
    assert (found.state, found.job, said in found.failure) == ("", "12", True), found
    with pytest.raises(UnreachableError, match="sacct does not answer"):
        judged(found, "lab")
    login.program("squeue", "case $* in *-j*) exit 1 ;; *) echo '36_1|RUNNING|c1|1|None' ;; esac")
    many = login.states(login.run(1), login.run(2), login.run(3, end="0 1700000009"))
    told = [(each.state, said in each.failure) for each in many.values() if isinstance(each, JobFacts)]
    assert told == [("RUNNING", False), ("", True), ("", False)]
    assert sum("-j" in call for call in login.calls("sacct")) <= 2, "one question for all"


def test_every_program_of_slurm_has_a_time_limit(login: Login) -> None:
    login.program("timeout", 'shift; exec "$@"')
    login.program("scancel", "")
    login.program("sbatch", "echo 13")
    login.program("scontrol", "echo 'MaxArraySize = 1001'")
    login.facts()
    login.call("stop", RUN, "1", "")
    login.call("limit")
    login.call("states", asked=f"{RUN} 0\n")
    login.call("begin", RUN, asked="record='{}' script='#!/bin/sh'\n")
    limited = {call.split()[1] for call in login.calls("timeout") if call.startswith("30 ")}
    for name in ("squeue", "sacct", "scontrol", "sbatch"):
        assert name in limited
        assert len(login.calls(name)) <= sum(f" {name} " in f"{call} " for call in login.calls("timeout"))


def test_another_cluster_behind_the_login_node(login: Login) -> None:
    (login.control / "job").write_text("12;big\n")
    login.program("squeue", "echo 'OUT_OF_MEMORY|n1|1700000000|OutOfMemory'")
    login.program("scontrol", "echo 'JobId=12 JobState=OUT_OF_MEMORY ExitCode=0:125 EndTime=1700000400'")
    found = login.facts()
    assert (found.state, found.exit, found.job) == ("OUT_OF_MEMORY", "0:125", "12")
    assert login.calls("squeue") == ["-Mbig -r -h -t all -j 12 -o %T|%N|%S|%r"]
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


def test_many_runs_in_one_call(login: Login) -> None:
    rows = ["36_1|RUNNING|c1|1700000000|None", "36_2|PENDING||N/A|JobArrayTaskLimit", "36_3|FAILED|c1|1|None"]
    rows += ["36_4|COMPLETED|c1|1|None", "36_5|CANCELLED||1|None", "36_6|TIMEOUT|c2|1|None"]
    alone = "case $* in *-j*) echo 'TIMEOUT|c2|1|None'; exit ;; esac"
    login.program("squeue", f"{alone}\ncat <<'END'\n{chr(10).join(rows)}\nEND")
    login.program("scontrol", "echo 'JobState=TIMEOUT ExitCode=0:15 EndTime=1700000400'")
    began = "7 8 1700000001"
    runs = [login.run(1, script=began), login.run(2), login.run(3, script=began, end="3 1700000009")]
    runs += [login.run(4, script=began, end="0 1700000009"), login.run(5), login.run(6, script=began)]
    found = login.states(*runs, "demo_99")
    assert found.pop("demo_99") == "gone"
    told = [(each.state, each.code, each.exit) for each in found.values() if isinstance(each, JobFacts)]
    ends = [("FAILED", 3, ""), ("", 0, ""), ("CANCELLED", None, ""), ("TIMEOUT", None, "0:15")]
    assert told == [("RUNNING", None, ""), ("PENDING", None, ""), *ends]
    # One for all, and one for the run whose end only scontrol tells.
    assert len(login.calls("squeue")) == 2
    assert login.calls("scontrol") == ["-o show job 36_6"]


def test_many_runs_that_have_ended_well_need_no_slurm(login: Login) -> None:
    runs = [login.run(number, end="0 1700000009") for number in (1, 2)]
    assert [each.code for each in login.states(*runs).values() if isinstance(each, JobFacts)] == [0, 0]
    assert login.calls("squeue") == []


def test_many_runs_that_only_the_accounting_has(login: Login) -> None:
    gone = "*-j*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;"
    login.program("squeue", f"case $* in {gone} esac\necho '40|RUNNING|c1|1|None'")
    rows = "36_1|NODE_FAIL|0:0|c1|1700000100|1700000200\n36_2|TIMEOUT|0:9|c2|1700000300|1700000400"
    login.program("sacct", f"case $* in *'-j 36_1,'*) printf '%s\\n' '{rows}' ;; esac")
    found = login.states(login.run(1), login.run(2), login.run(3))
    told = [(each.state, each.exit, each.nodes) for each in found.values() if isinstance(each, JobFacts)]
    assert told == [("NODE_FAIL", "0:0", "c1"), ("TIMEOUT", "0:9", "c2"), ("gone", "", "")]
    assert sum("-j 36_1,36_2,36_3 " in call for call in login.calls("sacct")) == 1


def test_many_runs_without_accounting(login: Login) -> None:
    """Slurm may have had a job not yet when it was asked for all: it is asked again."""
    answers = "*-j*) echo 'PENDING||N/A|Priority' ;; *) echo '40|RUNNING|c1|1|None' ;;"
    login.program("squeue", f"case $* in {answers} esac")
    found = login.states(login.run(1))
    assert [each.state for each in found.values() if isinstance(each, JobFacts)] == ["PENDING"]


def test_many_runs_while_slurm_fails(login: Login) -> None:
    login.program("squeue", "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1")
    found = login.states(login.run(1), login.run(2, end="0 1700000009"))
    told = [(each.code, each.failure) for each in found.values() if isinstance(each, JobFacts)]
    assert told == [(None, "slurm_load_jobs error: Unable to contact"), (0, "")]


def test_an_array_of_another_cluster(login: Login) -> None:
    run = login.run(1)
    array = login.home / ".amlexec/arrays/demo_1.points"
    (array / "job").write_text("36;big\n")
    (array / "runs").write_text("demo_0\ndemo_1\n")
    login.program("scontrol", "")
    login.program("scancel", "")
    login.call("throttle", "demo_1.points", "7")
    assert login.calls("scontrol") == ["-Mbig update jobid=36 arraytaskthrottle=7"]
    assert login.call("withdraw", "", asked=f"{run}\n") == ["demo_1 gone"]
    assert login.calls("scancel") == ["-Mbig -t PENDING 36_[1]"]
    assert not array.exists()


def test_a_run_that_is_withdrawn_never_begins(login: Login) -> None:
    runs = [login.run(1), login.run(2)]
    # The element has begun already.
    (login.home / ".amlexec/runs/demo_2/control/taken").mkdir()
    login.program("scancel", "")
    array = login.home / ".amlexec/arrays/demo_1.points"
    (array / "runs").write_text("demo_0\ndemo_1\ndemo_2\n")
    lines = login.call("withdraw", "", asked="".join(f"{run}\n" for run in [*runs, "demo_9"]))
    assert lines == ["demo_1 gone", "demo_2 begun", "demo_9 gone"]
    assert login.calls("scancel") == ["-t PENDING 36_[1]"]
    assert not (login.home / ".amlexec/runs/demo_1").exists()
    assert array.exists()
    assert login.call("remove", "demo_2", "") == ["removed"]
    assert not array.exists()
