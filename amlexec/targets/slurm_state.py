"""Parses what the login node says of a job of Slurm, and tells the state of its run. Values only.

The words are those of squeue, `scontrol -o show job` and sacct of Slurm 22.05 and later. Text that is not
known means "it goes on" for a job that Slurm has, never "it has ended well".
"""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

from amlexec.errors import TargetError, UnreachableError
from amlexec.targets.target import State

__all__ = [
    "NOT_SUBMITTED",
    "JobFacts",
    "is_facts",
    "judged",
    "pending",
    "queue_text",
    "read_facts",
    "seconds_of",
]

_FIELDS = 14
_TIME = re.compile(r"[0-9]{1,10}(\.[0-9]{0,12})?", re.ASCII)
_CODE = re.compile(r"[0-9]{1,3}", re.ASCII)
_WAIT_FOR_END_S = 60.0
"""How long a network file system may take to show the exit code of a job that Slurm says has ended."""
_NOT_SHARED = 96
"""Exit code of a job that does not find its folder."""
_NOT_WRITTEN = 97
"""Exit code of a job that can't write into its folder, or find what its run has written."""
_NO_LOG = "0:53"
"""Slurm's ExitCode for a job whose log can't be made."""
NOT_SUBMITTED = "it was not submitted"
_GONE = "gone"
_CAUSES = {
    "TIMEOUT": "the time limit was reached",
    "DEADLINE": "its deadline was reached",
    "OUT_OF_MEMORY": "it was out of memory",
    "PREEMPTED": "it was preempted by another job",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
}
_FINAL = frozenset({"COMPLETED", "CANCELLED", "FAILED", *_CAUSES})
_HELD = frozenset({"JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue"})
_NEVER = re.compile(
    r"PartitionNodeLimit|PartitionTimeLimit|PartitionConfig|BadConstraints|DependencyNeverSatisfied|InvalidAccount"
    r"|InvalidQOS|AccountNotAllowed|QOSNotAllowed|ReservationDeleted|QOSMax\w+PerJob\w*|AssocMax\w+PerJob\w*"
    r"|AssocGrp\w+JobLimit"
)
_SITE = frozenset({"PartitionDown", "PartitionInactive", "NodeDown"})


class JobFacts(NamedTuple):
    """All that is known of a run's job."""

    code: int | None = None
    """The exit code that the supervisor has written."""
    ended: float | None = None
    began: float | None = None
    canceled: bool = False
    """Whether amlexec has canceled it."""
    now: float | None = None
    """The login node's time."""
    submitted: bool = False
    requeue: bool = False
    """Whether Slurm starts it anew after it was preempted."""
    job: str = ""
    state: str = ""
    """Slurm's word; `gone` if Slurm does not have the job, "" if it was not asked or did not answer."""
    nodes: str = ""
    start: float | None = None
    """When Slurm expects to start it, or has started it."""
    reason: str = ""
    ahead: int | None = None
    """The number of pending jobs that are before it."""
    exit: str = ""
    """Slurm's ExitCode: `CODE:SIGNAL`."""
    slurm_ended: float | None = None
    failure: str = ""
    """Why Slurm could not be asked."""


def is_facts(output: str) -> bool:
    """Whether an answer is a line of facts of `runtime/slurm.sh`."""
    return output.startswith("slurm\t")


def read_facts(output: str, where: str) -> JobFacts:
    """Parse a line of `runtime/slurm.sh`. Raises TargetError if it has another form."""
    parts = output.strip("\n").split("\t")
    if len(parts) < _FIELDS:
        raise TargetError(f"the state of the job can't be read: {output.strip()[:300]!r}", where=where)
    _, code, at, began, canceled, now, submitted, requeue, job, row, ahead, details, accounted, failure = (
        part.strip() for part in parts[:_FIELDS]
    )
    found = JobFacts(
        code=int(code) if _CODE.fullmatch(code) and int(code) < 256 else None,
        ended=_seconds(at),
        began=_seconds(began),
        canceled=canceled == "1",
        now=_seconds(now),
        submitted=submitted == "1",
        requeue=requeue == "1",
        job=job,
        ahead=int(ahead) if _CODE.fullmatch(ahead) else None,
        failure=failure,
    )
    found = found._replace(**_row(row))
    if details:
        found = found._replace(**_details(details))
    if accounted:
        found = found._replace(**_accounted(accounted))
    return found


def _seconds(text: str) -> float | None:
    return float(text) if _TIME.fullmatch(text) else None


def _row(text: str) -> dict[str, Any]:
    """A row of squeue: `STATE|NODES|START|REASON`; the reason is free text."""
    state, *rest = text.split("|", 3)
    nodes, start, reason = (*rest, "", "", "")[:3]
    reason = "" if reason in {"None", "(null)"} else reason
    return {"state": _base(state), "nodes": nodes, "start": _seconds(start), "reason": reason}


def _base(text: str) -> str:
    """The word of a state: `CANCELLED by 1000` is CANCELLED."""
    return text.split(" ", 1)[0].rstrip("+") if text.strip() else ""


def _details(text: str) -> dict[str, Any]:
    """Words `KEY=VALUE` of `scontrol -o show job`."""
    values = dict(word.partition("=")[::2] for word in text.split())
    found: dict[str, Any] = {"exit": values.get("ExitCode", "")}
    if state := _base(values.get("JobState", "")):
        found["state"] = state
    for key, field in (("Reason", "reason"), ("NodeList", "nodes")):
        if (value := values.get(key, "")) not in {"", "None", "(null)"}:
            found[field] = value
    if values.get("FailedNode", "(null)") not in {"", "(null)"}:
        found["nodes"] = values["FailedNode"]
    found["slurm_ended"] = _seconds(values.get("EndTime", ""))
    return found


def _accounted(text: str) -> dict[str, Any]:
    """A row of sacct: `STATE|EXITCODE|NODES|START|END`, with times as SLURM_TIME_FORMAT has them."""
    state, code, nodes, _, end = (*text.split("|"), "", "", "", "", "")[:5]
    return {"state": _base(state), "exit": code, "nodes": nodes, "slurm_ended": _seconds(end)}


def judged(facts: JobFacts, where: str) -> State:
    """The state of a run.

    Raises:
        UnreachableError: Slurm does not answer, and its files don't tell.
    """
    if facts.code is not None and not (facts.requeue and not _is_over(facts)):
        return _ended(facts, facts.code, facts.ended)
    if facts.failure and not facts.state:
        raise UnreachableError(
            f"Slurm does not answer: {_first_line(facts.failure)}",
            where=where,
            hint="the run is not affected; it can be followed later: amlexec experiment status",
        )
    if not facts.state and not facts.job:
        return State("new")
    if facts.state == _GONE and not facts.job:
        return State("new") if not facts.submitted else _lost(facts, NOT_SUBMITTED)
    if not _is_over(facts):
        return _going_on(facts)
    return _over(facts)


def _is_over(facts: JobFacts) -> bool:
    if facts.state == "PREEMPTED" and facts.requeue:
        return False
    return facts.state in _FINAL or facts.state == _GONE


def _going_on(facts: JobFacts) -> State:
    is_waiting = facts.state in {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "PREEMPTED"}
    if facts.began is not None and not is_waiting:
        why = "suspended" if facts.state == "SUSPENDED" else ""
        return State("running", facts.began, now=facts.now, why=why)
    return State("starting", why=queue_text(facts))


def _over(facts: JobFacts) -> State:
    """The state of a job that Slurm has ended and that left no exit code."""
    code, _, sent = facts.exit.partition(":")
    if facts.state in {"COMPLETED", "FAILED"} and code != str(_NOT_SHARED) and facts.exit != _NO_LOG:
        since = None if facts.slurm_ended is None or facts.now is None else facts.now - facts.slurm_ended
        if since is not None and since < _WAIT_FOR_END_S and facts.began is not None:
            return State("running", facts.began, now=facts.now)
    if code == str(_NOT_SHARED) or facts.exit == _NO_LOG:
        node = facts.nodes or "the node"
        return _lost(facts, f"{node} does not have the folder of the run: sharedDirectory must be shared")
    if code == str(_NOT_WRITTEN) and facts.state == "FAILED":
        node = facts.nodes or "its node"
        return _lost(facts, f"{node} could not write into the run's folder: is its file system full?")
    signal = int(sent) if _CODE.fullmatch(sent) else 0
    if facts.state in _CAUSES and facts.state != "NODE_FAIL" and signal and facts.slurm_ended is not None:
        return _ended(facts, 128 + signal, facts.slurm_ended)
    if facts.state == "CANCELLED":
        why = _by_whom(facts)
        if facts.began is None:
            why = f"{why}, before it began" if why else "it had not begun"
        return State("lost", facts.began, canceled=True, why=why)
    if facts.state == _GONE:
        return _lost(facts, f"Slurm no longer has the job {facts.job}, and it left no exit code")
    words = f"{facts.state}{f' ({facts.reason})' if facts.reason else ''}"
    if facts.state == "FAILED" and facts.began is None:
        # Slurm took it, and then found that no node can run it.
        return _lost(facts, f"its job did not begin: Slurm says {words}")
    return _lost(facts, cause(facts) or f"Slurm says {words}, and it left no exit code")


def _ended(facts: JobFacts, code: int, at: float | None) -> State:
    at = at if at is not None else facts.now
    is_canceled = facts.canceled or (facts.state == "CANCELLED" and code != 0)
    why = _by_whom(facts) if is_canceled else cause(facts) if code else ""
    return State("ended", facts.began, at, code, is_canceled, why)


def _by_whom(facts: JobFacts) -> str:
    return "" if facts.canceled else "somebody canceled its job with scancel"


def cause(facts: JobFacts) -> str:
    """Why Slurm has ended a job, for people; "" if it has not."""
    text = _CAUSES.get(facts.state, "")
    if text and facts.state in {"NODE_FAIL", "BOOT_FAIL"} and facts.nodes:
        text = text.replace("its node", f"its node {facts.nodes}")
    return f"{text} (Slurm: {facts.state})" if text else ""


def _lost(facts: JobFacts, why: str) -> State:
    return State("lost", facts.began, canceled=facts.canceled, why=why)


def queue_text(facts: JobFacts) -> str:
    """The state of a job that has not begun, for people; "" if there is nothing to tell."""
    if facts.state != "PENDING":
        return facts.state.lower().replace("_", " ") if facts.state not in {"", "RUNNING", _GONE} else ""
    if not facts.reason:
        return ""  # Slurm has not looked at it yet
    text = f"pending: {facts.reason}"
    if advice := pending(facts.reason):
        return f"{text}: {advice}"
    if facts.start is not None:
        text += f", starts about {_clock(facts.start)}"
    if facts.ahead is not None:
        text += f", {facts.ahead} job{'' if facts.ahead == 1 else 's'} before it"
    return text


def pending(reason: str) -> str:
    """What to know of a reason that keeps a job from starting; "" if it only has to wait."""
    word = re.split(r"[\s,(|]", reason.strip(), maxsplit=1)[0]
    if word in _HELD:
        return "it is held; `scontrol release` lets it go on"
    if _NEVER.fullmatch(word):
        return "it can't start as it is: cancel it, and change its .compute file"
    if word in _SITE or word.startswith("ReqNodeNotAvail"):
        return "the site's nodes or the partition are not available now"
    return ""


def _clock(at: float) -> str:
    then, today = time.localtime(at), time.localtime()
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", then)


def _first_line(text: str) -> str:
    return re.sub(r"^\w+: error: |^slurm_load_jobs error: ", "", text.strip())[:200]


def seconds_of(text: str) -> int | None:
    """A time limit in seconds, in any of Slurm's forms; None for no limit (`UNLIMITED`, `Partition_Limit`).

    `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.

    Raises:
        ValueError: it has another form.
    """
    if text.strip().upper() in {"UNLIMITED", "INFINITE", "PARTITION_LIMIT", "NOT_SET", "-1"}:
        return None
    match = re.fullmatch(r"\s*(?:(\d{1,6})-)?(\d{1,9})(?::(\d{1,4}))?(?::(\d{1,4}))?\s*", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a time limit")
    days, *rest = match.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
