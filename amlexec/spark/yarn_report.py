"""What YARN says about an application, in words. No I/O.

The text comes from `control/application.json` of a run, which `runtime/site/amlexec/yarn_submit.py` writes.
States and exit codes: https://hadoop.apache.org/docs/stable/hadoop-yarn/hadoop-yarn-site/ResourceManagerRest.html,
`ContainerExitStatus` of Hadoop, `ApplicationMaster` and `SparkExitCode` of Spark.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

__all__ = ["FINAL", "KILLED", "Report", "cause", "is_final", "parsed"]

KILLED = (
    "the process on the head node that stays with the application was killed; the application is ended, too"
)

FINAL = frozenset({"FINISHED", "FAILED", "KILLED"})
_WORD = re.compile(r"[A-Z_]{0,40}")
_ID = re.compile(r"application_[0-9]{1,20}_[0-9]{4,10}")
_MOST_DIAGNOSTICS = 16384
_AM_CODES = {
    10: "an uncaught exception in the driver's JVM",
    11: "too many executors failed",
    12: "the driver could not report to YARN",
    13: "no SparkContext was made before the script ended, or within spark.yarn.am.waitTime",
    14: "the driver could not set up its security",
    15: "the script failed",
    16: "the driver's JVM ended early",
    17: "the driver lost its connection",
    50: "an uncaught exception",
    51: "an uncaught exception, and another one while it was handled",
    52: "out of memory in the JVM",
    101: "a class was not found",
    124: "the driver did not answer in time",
    127: "a program was not found",
    137: "killed by SIGKILL, perhaps for lack of memory",
    143: "ended by SIGTERM, as YARN does with a container that it stops",
}
_CONTAINER_CODES = {
    -1000: "it did not start",
    -100: "its node was lost, or YARN released it",
    -101: "the disks of its node failed",
    -102: "it was preempted for another queue",
    -103: "it used more virtual memory than allowed",
    -104: "it used more memory than allowed",
    -105: "the ApplicationMaster stopped it",
    -106: "the ResourceManager stopped it",
    -107: "its application had ended",
    -108: "the node's scheduler stopped it",
}
_EXIT = re.compile(r"exited with\s+exitCode:\s*(-?[0-9]{1,6})")
_USER_EXIT = re.compile(r"User application exited with (?:status )?([0-9]{1,3})")
_PHYSICAL = re.compile(
    r"running (?:[0-9]+B )?beyond(?: the '?)?\s*'?PHYSICAL'? memory limit|exceeded its physical memory limit"
    r"|beyond physical memory limits",
    re.IGNORECASE,
)
_VIRTUAL = re.compile(r"beyond(?: the)? '?VIRTUAL'? memory limit|beyond virtual memory limits", re.IGNORECASE)
_USAGE = re.compile(r"Current usage: ([0-9.]+ ?[A-Z]?B) of ([0-9.]+ ?[A-Z]?B) physical memory used")
_DOWNLOAD = re.compile(
    r"Failed to download resource \{ \{ ([^,\s]{1,1000}),[^\n]*?(?:Exception|Error): ([^\n]{1,300})"
)
_DISK = re.compile(
    r"No space left on device|No space available in any of the local dir|any valid local directory"
)
_ATTEMPTS = re.compile(r"failed ([0-9]{1,6}) times?\b")
_KILLED_BY = re.compile(
    r"Application (?:application_\S+ )?(?:was |is )?killed by user (\S+?)(?: at (\S+))?(?:\s|$)"
)


class Report(NamedTuple):
    """What YARN says about an application; "" for what is not known."""

    id: str = ""
    state: str = ""
    final_status: str = ""
    tracking_url: str = ""
    queue: str = ""
    diagnostics: str = ""
    attempts: int = 0
    error: str = ""
    """Of our own program on the head node."""
    is_finished: bool = False
    """Whether that program has come to its end: it was not killed."""
    has_results: bool = False
    """Whether a driver on a node has sent them: the exit code is the script's own."""


def parsed(text: str) -> Report:
    """Parse the text of `application.json`; parts of another form are left out."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return Report()
    if not isinstance(values, dict):
        return Report()

    def found(key: str, most: int = 2000) -> str:
        value = values.get(key)
        return value[:most] if isinstance(value, str) else ""

    identity, state, final = found("id"), found("state"), found("finalStatus")
    address = found("trackingUrl")
    attempts = values.get("attempts")
    return Report(
        identity if _ID.fullmatch(identity) else "",
        state if _WORD.fullmatch(state) else "",
        final if _WORD.fullmatch(final) else "",
        address if re.fullmatch(r"https?://[\x21-\x7e]+", address) else "",
        found("queue", 200),
        found("diagnostics", _MOST_DIAGNOSTICS),
        attempts
        if isinstance(attempts, int) and not isinstance(attempts, bool) and 0 <= attempts < 1000
        else 0,
        found("error"),
        values.get("is_finished") is True,
        values.get("has_results") is True,
    )


def is_final(report: Report) -> bool:
    """Whether the application has ended: its state says so. `finalStatus` is set while it still ends."""
    return report.state in FINAL


def cause(report: Report) -> str:
    """Why an application failed, in one sentence; "" if YARN does not know more than that it ended."""
    text = report.diagnostics
    if not report.is_finished:
        return KILLED if report.id else ""
    if report.error or report.has_results:
        return report.error
    if report.state == "KILLED" or report.final_status == "KILLED":
        return _killed(text)
    if not report.id:
        return ""
    found = _of_diagnostics(text, is_finished=report.state == "FINISHED")
    return f"{found} (application {report.id})" if found else ""


def _of_diagnostics(text: str, *, is_finished: bool) -> str:
    """The cause in the diagnostics; `is_finished` tells whether the application has come to its own end."""
    if match := re.search(r"submitted by user \S+ to unknown queue:?\s*(\S+)", text):
        return f"YARN has no queue {match[1]}"
    if found := _memory(text):
        return found
    if "Shutdown hook called before final status was reported" in text:
        return "the driver was ended from outside, as when its node is stopped"
    if match := _USER_EXIT.search(text):
        return "" if is_finished else f"the script ended with {match[1]}"
    if "timed out" in text and "ApplicationMaster for attempt" in text:
        return f"the node with the driver did not answer YARN any more{_tries(text)}"
    if match := _DISK.search(text):
        return f"the disk of the driver's node is full: {match[0]}{_tries(text)}"
    if match := _DOWNLOAD.search(text):
        # YARN does not tell the cause.
        hint = "; perhaps its disk is full" if "unpack failed" in match[2] else ""
        return f"the node of the driver could not fetch {match[1]}: {match[2].strip()}{hint}"
    if match := _EXIT.search(text):
        code = int(match[1])
        meaning = _CONTAINER_CODES.get(code) or _AM_CODES.get(code) or _reason(text)
        return f"the driver's container ended with {code}: {meaning}{_tries(text)}"
    return f"YARN: {_reason(text)}" if text.strip() else ""


def _killed(text: str) -> str:
    if match := _KILLED_BY.search(text):
        return f"the application was killed by {match[1]}" + (f" from {match[2]}" if match[2] else "")
    return f"the application was killed: {_reason(text)}" if text.strip() else "the application was killed"


def _memory(text: str) -> str:
    if _PHYSICAL.search(text) or re.search(r"exitCode:\s*-104\b", text):
        usage = _USAGE.search(text)
        amounts = f", {usage[1]} of {usage[2]}" if usage else ""
        return (
            f"the driver used more memory than YARN allows{amounts}: raise spark.driver.memory or "
            "spark.driver.memoryOverhead"
        )
    if _VIRTUAL.search(text) or re.search(r"exitCode:\s*-103\b", text):
        return (
            "the driver used more virtual memory than YARN allows: yarn.nodemanager.vmem-check-enabled of "
            "the cluster, which Java often exceeds, should be false"
        )
    return ""


def _tries(text: str) -> str:
    match = _ATTEMPTS.search(text)
    return f", {match[1]} attempts" if match and match[1] != "1" else ""


def _reason(text: str) -> str:
    """The most telling line of diagnostics."""
    if match := re.search(r"Diagnostics:?[ \t]*(?:\[[^\]]*\][ \t]*)?([^\n]+)", text):
        return match[1].strip()[:300]
    lines = [re.sub(r"^\[[^\]]*\]\s*", "", line.strip()) for line in text.splitlines()]
    lines = [
        line for line in lines if line and not re.match(r"(For more detailed|Failing|\.|Then click)", line)
    ]
    errors = [line for line in lines if re.search(r"(Exception|Error)\b", line)]
    return (errors or lines or ["no reason is known"])[0][:300]
