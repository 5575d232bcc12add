"""What Slurm prints, and the state of a run that follows from it: texts of real clusters, and free text."""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.errors import TargetError, UnreachableError
from amlexec.runs.lifecycle import ending
from amlexec.targets import slurm_script
from amlexec.targets.slurm_state import (
    JobFacts,
    judged,
    pending,
    queue_text,
    read_facts,
    seconds_of,
)
from amlexec.values import ComputeTarget, Place

if TYPE_CHECKING:
    from amlexec.targets.target import State

NOW = 1_700_000_000.0
SCONTROL = (
    "JobId=10 JobState=TIMEOUT Reason=TimeLimit Restarts=0 ExitCode=0:9 StartTime=1699999000 "
    "EndTime=1699999990 NodeList=c1 BatchHost=c1 "
)


def line(**fields: str) -> str:
    """A line of `runtime/slurm.sh`."""
    names = ("code", "at", "began", "canceled", "now", "submitted", "requeue", "job", "row", "ahead")
    defaults = {"canceled": "0", "now": str(NOW), "submitted": "1", "requeue": "0", "job": "10"}
    values = [{**defaults, **fields}.get(name, "") for name in (*names, "details", "accounted", "failure")]
    return "\t".join(["slurm", *values, "\n"])


def state(**fields: str) -> State:
    """The state that follows."""
    return judged(read_facts(line(**fields), "lab"), "lab")


def end(**fields: str) -> tuple[str, str, int | None]:
    """Status, reason and exit code."""
    return ending(state(**fields))


BEGAN = {"began": "1699999000.5"}
ENDED = {"code": "143", "at": "1699999990", **BEGAN}


def test_an_exit_code_of_our_own_needs_no_slurm() -> None:
    assert end(code="0", at="1699999990", **BEGAN) == ("Completed", "", 0)
    assert end(failure="Unable to contact slurm controller", **ENDED)[0] == "Failed"
    assert end(row="gone", code="7", at="1699999990", **BEGAN) == ("Failed", "exit code 7", 7)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("TIMEOUT|c1|1699999000|TimeLimit", "the time limit was reached (Slurm: TIMEOUT)"),
        ("OUT_OF_MEMORY|c1|1699999000|OutOfMemory", "it was out of memory (Slurm: OUT_OF_MEMORY)"),
        ("PREEMPTED|c1|1699999000|None", "it was preempted by another job (Slurm: PREEMPTED)"),
        ("NODE_FAIL|c1|1699999000|NodeDown", "its node c1 failed (Slurm: NODE_FAIL)"),
        ("DEADLINE|c1|1699999000|DeadLine", "its deadline was reached (Slurm: DEADLINE)"),
    ],
)
def test_ends_by_slurm_are_told_from_failures(row: str, why: str) -> None:
    assert end(row=row, **ENDED) == ("Failed", f"exit code 143: {why}", 143)
    status, reason, _ = end(row=row, details=f"JobState={row.partition('|')[0]} ExitCode=0:0", **BEGAN)
    assert (status, reason) == ("Lost", why)


def test_an_end_without_our_exit_code() -> None:
    assert end(row="TIMEOUT|c1|1699999000|TimeLimit", details=SCONTROL, **BEGAN) == (
        "Failed",
        "exit code 137: the time limit was reached (Slurm: TIMEOUT)",
        137,
    )
    assert end(row="FAILED||1699999000|BadConstraints", details="JobState=FAILED ExitCode=1:0") == (
        "Lost",
        "its job did not begin: Slurm says FAILED (BadConstraints)",
        None,
    )
    for code in ("96:0", "0:53"):
        reason = end(row="FAILED|c2|1|x", details=f"JobState=FAILED ExitCode={code} NodeList=c2")[1]
        assert reason == "c2 does not have the folder of the run: sharedDirectory must be shared"
    details = "JobState=FAILED ExitCode=97:0 NodeList=c2"
    full = "c2 could not write into the run's folder: is its file system full?"
    assert end(row="FAILED|c2|1|x", details=details) == ("Lost", full, None)


@pytest.mark.parametrize("word", ["COMPLETED", "gone", "FAILED"])
def test_a_job_without_our_exit_code_is_never_completed(word: str) -> None:
    row = word if word == "gone" else f"{word}|c1|1699999000|None"
    assert end(row=row, details=f"JobState={word} ExitCode=0:0 EndTime=1699990000", **BEGAN)[0] == "Lost"


def test_a_network_file_system_may_show_the_exit_code_later() -> None:
    row, details = "COMPLETED|c1|1699999000|None", f"JobState=COMPLETED ExitCode=0:0 EndTime={NOW - 5:.0f}"
    assert state(row=row, details=details, **BEGAN).phase == "running"


def test_a_job_that_slurm_has_forgotten() -> None:
    assert end(row="gone", **BEGAN)[1] == "Slurm no longer has the job 10, and it left no exit code"
    accounted = "CANCELLED by 1005|0:15|c1|1699999000|1699999990"
    assert read_facts(line(row="gone", accounted=accounted), "lab").state == "CANCELLED"
    assert end(row="gone", accounted=accounted, **BEGAN)[0] == "Canceled"
    accounted = "OUT_OF_MEMORY|0:125|c1|1699999000|1699999990"
    assert end(row="gone", accounted=accounted, **BEGAN)[:2] == (
        "Failed",
        "exit code 253: it was out of memory (Slurm: OUT_OF_MEMORY)",
    )


def test_canceled_by_us_and_by_others() -> None:
    row = "CANCELLED|c1|1699999000|None"
    assert end(row=row, canceled="1", **ENDED) == ("Canceled", "", 143)
    assert end(row=row, **ENDED) == ("Canceled", "somebody canceled its job with scancel", 143)
    assert end(row="CANCELLED||N/A|None", canceled="1") == ("Canceled", "it had not begun", None)
    by_others = "somebody canceled its job with scancel, before it began"
    assert end(row="CANCELLED||N/A|None") == ("Canceled", by_others, None)


def test_a_requeued_job_has_not_ended() -> None:
    for row in ("PENDING||N/A|BeginTime", "PREEMPTED|c1|1|None", "REQUEUED|c1|1|None"):
        assert state(row=row, requeue="1", **ENDED).phase == "starting"
    assert state(row="RUNNING|c1|1|None", requeue="1", **ENDED).phase == "running"
    assert state(row="COMPLETING|c1|1|None", requeue="1", **ENDED).phase == "running"
    assert state(row="FAILED|c1|1|NonZeroExitCode", requeue="1", **ENDED).phase == "ended"
    with pytest.raises(UnreachableError):
        state(failure="timed out", requeue="1", **ENDED)


def test_no_answer_means_nothing() -> None:
    for failure in (
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "squeue: error: Munge decode failed: Expired credential",
        "squeue gave no answer",
    ):
        with pytest.raises(UnreachableError, match="Slurm does not answer: "):
            state(failure=failure, **BEGAN)


def test_before_the_submission() -> None:
    assert state(submitted="0", job="").phase == "new"
    assert end(row="gone", job="") == ("Lost", "it was not submitted", None)


@pytest.mark.parametrize("word", ["RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "SOMETHING_NEW"])
def test_a_job_that_goes_on(word: str) -> None:
    found = state(row=f"{word}|c1|1699999000|None", **BEGAN)
    assert (found.phase, found.began, found.now) == ("running", 1699999000.5, NOW)
    assert state(row=f"{word}|c1|1699999000|None").phase == "starting"


def test_the_queue() -> None:
    at = time.mktime((2031, 5, 6, 14, 20, 0, 0, 0, -1))
    row = f"PENDING||{at:.0f}|Resources"
    told = queue_text(read_facts(line(row=row, ahead="3"), "lab"))
    assert told == "pending: Resources, starts about 2031-05-06 14:20, 3 jobs before it"
    assert queue_text(JobFacts(state="PENDING", reason="Priority", ahead=1)) == (
        "pending: Priority, 1 job before it"
    )
    assert queue_text(JobFacts(state="PENDING")) == ""
    assert queue_text(JobFacts(state="CONFIGURING")) == "configuring"


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("Resources", ""),
        ("Priority", ""),
        ("QOSGrpCpuLimit", ""),
        ("AssocGrpGRES", ""),
        ("JobArrayTaskLimit", ""),
        ("PartitionTimeLimit", "it can't start as it is"),
        ("QOSMaxCpuPerJobLimit", "it can't start as it is"),
        ("AssocMaxWallDurationPerJobLimit", "it can't start as it is"),
        ("InvalidAccount", "it can't start as it is"),
        ("JobHeldAdmin", "it is held"),
        ("PartitionDown", "not available now"),
        ("ReqNodeNotAvail, UnavailableNodes:c[1-2]", "not available now"),
        ("a word | that nobody knows\x1b[31m", ""),
    ],
)
def test_reasons_are_free_text(reason: str, advice: str) -> None:
    assert advice in pending(reason)
    assert bool(pending(reason)) is bool(advice)
    assert read_facts(line(row=f"PENDING||N/A|{reason}"), "lab").reason == reason


@given(st.text())
def test_any_answer_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(TargetError, UnreachableError):
        judged(read_facts(text, "lab"), "lab")


@given(st.lists(st.text(st.characters(blacklist_characters="\t\n")), min_size=13, max_size=13))
def test_any_fields_are_read(fields: list[str]) -> None:
    with contextlib.suppress(UnreachableError):
        judged(read_facts("\t".join(["slurm", *fields]), "lab"), "lab")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("30:10", 1810),
        ("2:00:00", 7200),
        ("1-0", 86400),
        ("1-12:30", 131400),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
        ("infinite", None),
        ("Partition_Limit", None),
    ],
)
def test_time_limits(text: str, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


def test_what_is_no_time_limit() -> None:
    for text in ("", "soon", "1:2:3:4", "-5", "1-2-3"):
        with pytest.raises(ValueError, match="is not a time limit"):
            seconds_of(text)


def target(**fields: object) -> ComputeTarget:
    made = ComputeTarget("lab", "slurm", Place("aml_config/lab.compute"))
    return made._replace(**fields)  # type: ignore[arg-type]


def test_options_of_sbatch() -> None:
    assert slurm_script.lines(target()) == ["--nodes=1", "--no-requeue"]
    assert slurm_script.lines(target(gres="gpu:2", node_count=1)) == [
        "--nodes=1",
        "--gres=gpu:2",
        "--no-requeue",
    ]
    told = target(
        node_count=2,
        tasks_per_node=4,
        partition="main",
        time="1-12",
        memory="4G",
        requeue=True,
        sbatch=("--exclusive",),
    )
    assert slurm_script.lines(told) == [
        "--nodes=2",
        "--ntasks-per-node=4",
        "--partition=main",
        "--time=1-12",
        "--mem=4G",
        "--requeue",
        "--exclusive",
    ]
    assert slurm_script.options("/a b")[0] == "--chdir=/a b/control"


_WORD = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))


@given(st.lists(_WORD, min_size=1, max_size=5))
def test_every_word_arrives(words: list[str]) -> None:
    text = slurm_script.script(target(), "demo_1", "/tmp", "/tmp", words)
    before, _, last = text.partition('. "$runtime/slurm_job.sh"\n')
    assert before.startswith("#!/bin/sh\n#SBATCH --nodes=1\n#SBATCH --no-requeue\n")
    shown = f"job() {{ printf '%s\\0' \"$@\"; }}\n{last}"
    done = subprocess.run(["sh"], input=shown.encode(), capture_output=True, check=True)
    assert done.stdout == "".join(f"{word}\0" for word in words).encode()
