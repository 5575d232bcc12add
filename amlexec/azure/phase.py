"""What a container group's own states say about a run. Values only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from amlexec.azure.groups import GroupView

__all__ = ["PROVISIONING_TIMEOUT_S", "Phase", "phase_of"]

PROVISIONING_TIMEOUT_S = 45 * 60.0
"""Azure itself gives up after 30 minutes."""
_FAILURES = frozenset(
    {
        *("failed", "failedmount", "failedscheduling", "failedattachvolume", "backoff", "unhealthy"),
        *("failedcreatepodsandbox", "imagepullfailed", "errimagepull", "inspectfailed", "killing"),
    }
)
"""Names of events that say why nothing starts. Their types say nothing: Azure calls some of them Normal."""
_TROUBLED = frozenset({"unhealthy", "repairing"})


class Phase(NamedTuple):
    """The phase of a run, by its container group alone."""

    name: str
    """`starting`, `running`, `ended`, or `failed`: it has not begun, and won't."""
    why: str = ""
    warning: str = ""


def phase_of(view: GroupView, age: float) -> Phase:
    """The phase; `age` is in seconds since the group was asked for.

    Only Succeeded and Failed can be relied on, and both are about the creation alone: a group that failed to
    become ready in time may run all the same, and one that succeeded may not have begun.
    """
    provisioning, state = view.provisioning.lower(), view.state.lower()
    trouble = f"Azure calls the group {view.provisioning}" if provisioning in _TROUBLED else ""
    if state == "terminated":
        return Phase("ended", _detail(view))
    if state == "running":
        return Phase("running", warning=trouble)
    if provisioning == "failed":
        return Phase(
            "failed", _cause(view) or "Azure could not start the container group, and does not say why"
        )
    if age > PROVISIONING_TIMEOUT_S:
        minutes = f"{age / 60:.0f} min"
        said = _cause(view) or f"the group is {view.provisioning or 'in an unknown state'}"
        return Phase("failed", f"it has not begun in {minutes}: {said}")
    return Phase("starting", _cause(view), trouble)


def _detail(view: GroupView) -> str:
    detail = view.detail
    if detail.replace(" ", "").lower() in {"oomkilled", "outofmemory"}:
        return "it used more memory than memoryGb"
    return "" if detail.lower() in {"", "completed", "error"} else detail


def _cause(view: GroupView) -> str:
    """The last event that tells of a failure, in one line; else why the container waits."""
    for event in reversed(view.events):
        if event.name.lower() in _FAILURES:
            return f"{' '.join(event.message.split()).rstrip('.')[:400]} ({event.name})"
    return "" if view.detail.lower() in {"", "creating", "containercreating", "pulling"} else view.detail
