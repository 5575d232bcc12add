"""What YARN says about applications, in its exact words."""

from __future__ import annotations

import json

import pytest

from amlexec.spark import yarn_report
from amlexec.spark.yarn_report import Report

ID = "application_1521077190506_0042"
FAILED_TWICE = (
    f"Application {ID} failed 2 times due to AM Container for appattempt_1521077190506_0042_000002 "
    "exited with  exitCode: {}\nFailing this attempt.Diagnostics: {}\nFor more detailed output, check the "
    f"application tracking page: http://rm:8088/cluster/app/{ID} Then click on links to logs of each "
    "attempt.\n. Failing the application."
)
PHYSICAL = (
    "[2026-11-30 20:38:21.797]Container [pid=42,containerID=container_1_0042_02_000001] is running "
    "1048576B beyond the 'PHYSICAL' memory limit. Current usage: 1.0 GB of 1 GB physical memory used; 2.5 GB "
    "of 2.1 GB virtual memory used. Killing container."
)
VIRTUAL = PHYSICAL.replace("'PHYSICAL'", "'VIRTUAL'")
CGROUPS = "Container container_1_0042_02_000001 is under oom because it exceeded its physical memory limit."
FAILED_ONCE = (
    f"Application {ID} failed 1 times (global limit =2; local limit is =1) due to AM Container for "
    "appattempt_1_0042_000001 exited with  exitCode: {}\nFailing this attempt."
)
UNPACKING = "Download and unpack failed; perhaps its disk is full"
ADDRESS = "hdfs://head:8020/user/ada/.amlexec/archives/a.tar.gz"
DISK_FULL = (
    "Diagnostics: [2026-12-01 00:40:15.284]Failed to download resource { { "
    f"{ADDRESS}, 1796085515345, ARCHIVE, null }},pending,"
    "[(container_e01_1_0002_01_000001)],16714168242214,DOWNLOADING} "
    "org.apache.hadoop.yarn.exceptions.YarnException: Download and unpack failed\nFor more detailed output"
)
NO_SPACE = (
    "Diagnostics: [2026-12-01 04:05:02.389]java.io.IOException: No space left on device\n"
    "org.apache.hadoop.fs.FSError: java.io.IOException: No space left on device\n"
    "\tat org.apache.hadoop.fs.RawLocalFileSystem$LocalFSFileOutputStream.write(RawLocalFileSystem.java:349)"
)
TIMED_OUT = (
    f"Application {ID} failed 1 times in previous 3600000 milliseconds due to ApplicationMaster for attempt "
    "appattempt_1_0042_000001 timed out. Failing the application."
)
ENDED = "the driver's container ended with"
MEMORY = "the driver used more memory than YARN allows"
NO_CONTEXT = "no SparkContext was made before the script ended, or within spark.yarn.am.waitTime"
RAISE = "raise spark.driver.memory or spark.driver.memoryOverhead"


def cause(text: str, state: str = "FAILED", final: str = "FAILED") -> str:
    return yarn_report.cause(Report(ID, state, final, diagnostics=text, is_finished=True))


class TestCauses:
    """One sentence for what is in the diagnostics."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (FAILED_TWICE.format(-104, PHYSICAL), f"{MEMORY}, 1.0 GB of 1 GB: {RAISE}"),
            (CGROUPS, f"{MEMORY}: {RAISE}"),
            (
                FAILED_TWICE.format(-102, "Container released by application"),
                f"{ENDED} -102: it was preempted for another queue, 2 attempts",
            ),
            (
                FAILED_TWICE.format(-100, "Container released on a *lost* node"),
                f"{ENDED} -100: its node was lost, or YARN released it, 2 attempts",
            ),
            (
                FAILED_TWICE.format(13, "[2026-11-30 20:38:21.797]Exception from container-launch."),
                f"{ENDED} 13: {NO_CONTEXT}, 2 attempts",
            ),
            (
                FAILED_ONCE.format("143"),
                f"{ENDED} 143: ended by SIGTERM, as YARN does with a container that it stops",
            ),
            (
                FAILED_TWICE.format(99, "[2026-11-30 20:38:21.797]Stdout path must be absolute"),
                f"{ENDED} 99: Stdout path must be absolute, 2 attempts",
            ),
            (
                FAILED_ONCE.format(-1000) + DISK_FULL,
                f"the node of the driver could not fetch {ADDRESS}: {UNPACKING}",
            ),
            (
                FAILED_ONCE.format(-1000) + NO_SPACE,
                "the disk of the driver's node is full: No space left on device",
            ),
            (
                "Shutdown hook called before final status was reported.",
                "the driver was ended from outside, as when its node is stopped",
            ),
            (TIMED_OUT, "the node with the driver did not answer YARN any more"),
            (f"Application {ID} submitted by user ada to unknown queue: gpu", "YARN has no queue gpu"),
        ],
    )
    def test_failed(self, text: str, said: str) -> None:
        assert cause(text) == f"{said} (application {ID})"

    def test_nothing_is_known(self) -> None:
        assert cause("") == ""

    def test_virtual_memory_names_the_setting(self) -> None:
        assert "yarn.nodemanager.vmem-check-enabled" in cause(FAILED_TWICE.format(-103, VIRTUAL))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("Application killed by user.", "the application was killed: Application killed by user."),
            (
                f"Application {ID} was killed by user ada at 10.0.0.4",
                "the application was killed by ada from 10.0.0.4",
            ),
            ("", "the application was killed"),
        ],
    )
    def test_killed_is_not_failed(self, text: str, said: str) -> None:
        assert cause(text, "KILLED", "KILLED") == said

    def test_the_script_s_own_failure_needs_no_words(self) -> None:
        assert cause("User application exited with status 7", "FINISHED") == ""
        report = Report(ID, "FAILED", diagnostics=FAILED_TWICE, is_finished=True, has_results=True)
        assert yarn_report.cause(report) == ""

    def test_a_preempted_executor_is_no_cause(self) -> None:
        """YARN replaces it; what the script made of it is in the script's output."""
        lost = (
            "ExecutorLostFailure (executor 2 exited) Reason: Container container_1_0042_01_3 was preempted."
        )
        assert cause(f"{lost}\nUser application exited with status 1", "FINISHED") == ""

    def test_our_own_error_comes_first(self) -> None:
        error = "the cluster's file system: Name node is in safe mode."
        report = Report(ID, "FAILED", diagnostics="x", error=error, is_finished=True)
        assert yarn_report.cause(report) == error

    def test_what_stays_with_it_was_killed(self) -> None:
        assert yarn_report.cause(Report(ID, "RUNNING", diagnostics="x")) == yarn_report.KILLED
        assert yarn_report.cause(Report()) == ""


class TestReading:
    """The file comes from another machine."""

    def test_all_is_there(self) -> None:
        told = {
            "id": ID,
            "state": "FINISHED",
            "finalStatus": "SUCCEEDED",
            "trackingUrl": "http://rm:8088/x",
            "queue": "default",
            "diagnostics": "",
            "attempts": 1,
            "error": "",
            "is_finished": True,
        }
        wanted = Report(ID, "FINISHED", "SUCCEEDED", "http://rm:8088/x", "default", "", 1, "", True)
        assert yarn_report.parsed(json.dumps(told)) == wanted

    @pytest.mark.parametrize(
        "text",
        ["", "x", "[]", "null", "[" * 100_000, '{"id": "application_1_0001; rm -rf"}', '{"attempts": true}'],
    )
    def test_other_forms(self, text: str) -> None:
        assert yarn_report.parsed(text) == Report()

    def test_a_state_that_nobody_knows(self) -> None:
        report = yarn_report.parsed(json.dumps({"id": ID, "state": "FINAL_SAVING", "finalStatus": "ENDED"}))
        assert (report.state, yarn_report.is_final(report)) == ("FINAL_SAVING", False)

    @pytest.mark.parametrize("state", ["RUNNING", "ACCEPTED", "NEW_SAVING", ""])
    def test_a_final_status_is_not_an_end(self, state: str) -> None:
        assert not yarn_report.is_final(Report(ID, state, "SUCCEEDED"))
