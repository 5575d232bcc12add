"""What a Job, its Pod and their events say about a run. Values only."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["View", "phase_of", "terminated", "waits"]

_TRIES = 3
"""A run has failed after so many failed attempts to pull its image, or to create its Pod."""
_PULL_TIMEOUT_S = 15 * 60.0
"""The same in seconds, if the cluster's events can't be read."""
_FINAL = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Reasons of a waiting container that don't go away by waiting."""
_CONFIG, _CONFIG_TIMEOUT_S = "CreateContainerConfigError", 120.0
"""The reason while its Secret is missing, which is created after the Job."""
_PULLS = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
_NORMAL = frozenset({"", "ContainerCreating", "PodInitializing"})
_FORBIDDEN = re.compile(r"violates PodSecurity|serviceaccount .*not found", re.IGNORECASE)
_RESTRICTED = re.compile(r"violates PodSecurity \"restricted", re.IGNORECASE)
_NEVER_BEGAN = frozenset({"StartError", "ContainerCannotRun", "ContainerStatusUnknown"})


class View(NamedTuple):
    """A phase of a run, by the objects of the cluster alone."""

    phase: str
    """`starting`, `running`, `ended`, or `failed`: it has not begun, and won't."""
    why: str = ""
    warning: str = ""
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: bytes = b""
    """What the run itself has left when its container ended."""


def phase_of(
    job: dict[str, Any], pod: dict[str, Any] | None, events: Sequence[dict[str, Any]], age: float
) -> View:
    """The phase; `age` is in seconds since the Job was asked for."""
    if pod is None:
        return _without_pod(job, events)
    found = terminated(pod)
    if found is not None:
        return _ended(pod, found)
    status = pod.get("status") or {}
    if status.get("phase") in {"Failed", "Succeeded"}:
        why = _cause_of_end(pod) or "the cluster has ended its Pod before it began"
        return View("failed" if _began(pod) is None else "ended", why, exit_code=137)
    if _began(pod) is not None:
        lost = "its node does not answer" if status.get("phase") == "Unknown" else ""
        return View("running", warning=lost, began=_began(pod))
    return _waiting(pod, events, age)


def waits(pod: dict[str, Any] | None) -> bool:
    """Whether only events may tell why nothing begins."""
    return pod is None or (_began(pod) is None and terminated(pod) is None)


def terminated(pod: dict[str, Any]) -> dict[str, Any] | None:
    """The end of the Pod's container; None if it has none."""
    found = (_container(pod).get("state") or {}).get("terminated")
    return found if isinstance(found, dict) else None


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    rows = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return rows[0] if isinstance(rows[0], dict) else {}


def _began(pod: dict[str, Any]) -> float | None:
    running = (_container(pod).get("state") or {}).get("running")
    return _moment(running.get("startedAt")) or 0.0 if isinstance(running, dict) else None


def _ended(pod: dict[str, Any], found: dict[str, Any]) -> View:
    reason = str(found.get("reason") or "")
    said = _line(found.get("message"))
    code = found.get("exitCode")
    code = code if isinstance(code, int) and 0 <= code <= 255 else 255
    if reason in _NEVER_BEGAN:
        return View("failed", f"its container could not be started: {said or reason}")
    why = "it used more memory than memoryGb" if reason == "OOMKilled" else _cause_of_end(pod)
    message = str(found.get("message") or "").encode()
    return View(
        "ended", why, "", _moment(found.get("startedAt")), _moment(found.get("finishedAt")), code, message
    )


def _cause_of_end(pod: dict[str, Any]) -> str:
    """Why the cluster has ended a Pod, such as an eviction; "" if it has not."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return (
                f"the cluster has ended its Pod: {_line(condition.get('message')) or condition.get('reason')}"
            )
    if status.get("reason"):
        return f"the cluster has ended its Pod: {_line(status.get('message')) or _line(status['reason'])}"
    return ""


def _waiting(pod: dict[str, Any], events: Sequence[dict[str, Any]], age: float) -> View:
    waiting = (_container(pod).get("state") or {}).get("waiting") or {}
    reason, said = str(waiting.get("reason") or ""), _line(waiting.get("message"))
    if reason in _NORMAL:
        mount = _event(events, "FailedMount", "FailedAttachVolume")
        return View("starting", mount or _unschedulable(pod))
    why = f"{said or 'no details'} ({reason})"
    if reason in _PULLS:
        # The last of these says less than those before it.
        why = f"{_event(events, 'Failed') or said or 'its image could not be pulled'} ({reason})"
        is_over = _times(events, "Failed") >= _TRIES or age > _PULL_TIMEOUT_S
        return View("failed" if is_over else "starting", why)
    if reason == _CONFIG and age < _CONFIG_TIMEOUT_S:
        return View("starting")
    return View("failed" if reason in {*_FINAL, _CONFIG} else "starting", why)


def _unschedulable(pod: dict[str, Any]) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"no node takes it yet: {_line(condition.get('message'))} ({condition.get('reason')})"
    return ""


def _without_pod(job: dict[str, Any], events: Sequence[dict[str, Any]]) -> View:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            return View("ended", "its Pod is gone: somebody has deleted it, or its node", exit_code=137)
    why = _event(events, "FailedCreate")
    is_over = _FORBIDDEN.search(why) is not None and _times(events, "FailedCreate") >= _TRIES
    if _RESTRICTED.search(why) and not _is_unprivileged(job):
        why += "; runAsUser: 1000 in the .compute file runs it without root"
    return View("failed" if is_over else "starting", why)


def _is_unprivileged(job: dict[str, Any]) -> bool:
    pod = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    return (pod.get("securityContext") or {}).get("runAsNonRoot") is True


def _event(events: Sequence[dict[str, Any]], *reasons: str) -> str:
    """The message of the last such event; "" for none."""
    found = [each for each in events if each.get("reason") in reasons and each.get("message")]
    # Both `Failed`: that an image can't be pulled, and, without its cause, that this has failed.
    told = [each for each in found if not str(each["message"]).startswith("Error: ")] or found
    return _line(told[-1]["message"]) if told else ""


def _times(events: Sequence[dict[str, Any]], reason: str) -> int:
    counts = [each.get("count") or 1 for each in events if each.get("reason") == reason]
    return max((count for count in counts if isinstance(count, int)), default=0)


def _line(text: object) -> str:
    return " ".join(str(text or "").split()).rstrip(".")[:400]


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
