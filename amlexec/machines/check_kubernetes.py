"""Checks whether a compute target in a Kubernetes cluster can be used. Nothing is created there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import AmlexecError, TargetError
from amlexec.kubernetes.cluster import CLAIMS, Cluster
from amlexec.machines.check_results import FAILED, OK, WARNING, Finding
from amlexec.machines.check_service import registry_finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.docker.client import Engine
    from amlexec.values import ComputeTarget

__all__ = ["RIGHTS", "examine"]

RIGHTS = (
    *(("batch", "jobs", verb) for verb in ("create", "get", "delete")),
    *(("", "secrets", verb) for verb in ("create", "delete")),
    ("", "pods", "list"),
    # The channel is asked for by GET, which clusters before 1.30 count as `get`.
    *(("", "pods/exec", verb) for verb in ("create", "get")),
    ("", "pods/log", "get"),
    ("", "persistentvolumeclaims", "get"),
    ("", "events", "list"),
)
"""What amlexec does in a namespace."""
_OPTIONAL = frozenset({"events", "pods/log", "persistentvolumeclaims"})
"""Without these, runs work, and messages say less."""
_SHARED = frozenset({"ReadWriteMany"})


def examine(target: ComputeTarget, engine: Engine) -> list[Finding]:
    """The findings about the cluster; `engine` asks the registry.

    Raises:
        UsageError: the client is not installed.
    """
    cluster = Cluster(target.context, target.namespace)
    found = [_finding("login", lambda: _login(cluster))]
    if found[0].status != FAILED:
        found.append(_finding("rights", lambda: _rights(cluster)))
        found.append(_finding("claim", lambda: _claim(cluster, target)))
    found.append(registry_finding(target, engine))
    return found


def _finding(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except TargetError as error:
        return Finding(name, FAILED, error.message, error.hint)


def _login(cluster: Cluster) -> Finding:
    version = cluster.version()
    cluster.is_allowed("get", "", "pods")  # the version is told to everybody
    return Finding("login", OK, f"{cluster.address}: Kubernetes {version}")


def _rights(cluster: Cluster) -> Finding:
    missing = [
        (resource, verb) for group, resource, verb in RIGHTS if not cluster.is_allowed(verb, group, resource)
    ]
    channel = [verb for resource, verb in missing if resource == "pods/exec"]
    if len(channel) == 1:
        missing.remove(("pods/exec", channel[0]))  # either will do
    if not missing:
        return Finding("rights", OK, f"all that runs need in {cluster.namespace}")
    named = ", ".join(f"{verb} {resource}" for resource, verb in missing)
    is_needed = any(resource not in _OPTIONAL for resource, _ in missing)
    hint = "ask for a role with them in this namespace; the how-to has one"
    return Finding("rights", FAILED if is_needed else WARNING, f"the login may not: {named}", hint)


def _claim(cluster: Cluster, target: ComputeTarget) -> Finding:
    try:
        found = cluster.get(CLAIMS, target.claim)
    except AmlexecError as error:
        return Finding("claim", WARNING, f"{target.claim} can't be looked at: {error.message}", error.hint)
    file = target.place.path
    if found is None:
        message = f"there is no PersistentVolumeClaim {target.claim} in {cluster.namespace}"
        return Finding("claim", FAILED, message, f"create it, or set claim in {file}")
    status = found.get("status") or {}
    modes = [
        str(mode) for mode in status.get("accessModes") or (found.get("spec") or {}).get("accessModes", ())
    ]
    size = str((status.get("capacity") or {}).get("storage") or "an unknown size")
    if status.get("phase") == "Lost":
        return Finding("claim", FAILED, f"the volume of {target.claim} is lost", "create it again")
    if not _SHARED & set(modes):
        mode = ", ".join(modes) or "of an unknown mode"
        message = f"{target.claim} is {mode}: all its Pods have to be on one node"
        return Finding("claim", WARNING, message, "use one of mode ReadWriteMany, if runs use several nodes")
    return Finding("claim", OK, f"{target.claim}, {', '.join(modes)}, {size}")
