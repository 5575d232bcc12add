"""What is asked for: the Job of a run, its Secret, and the Job whose Pod looks into a claim. Values only."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.kubernetes.place import RUNS, USER, needs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.kubernetes.place import Place

__all__ = [
    "CONTAINER",
    "HOME",
    "LABEL",
    "MOUNT",
    "OWNER",
    "Resources",
    "files_job",
    "files_name",
    "job",
    "secret",
]

CONTAINER = "run"
"""The name of a Pod's one container."""
LABEL, OWNER, RUN = "amlexec/job", "amlexec/owner", "amlexec/run"
MOUNT = "/amlexec/storage"
_MANAGED = {"app.kubernetes.io/managed-by": "amlexec"}
_KEPT_S = 7 * 24 * 3600
"""How long the cluster keeps a Job that has ended, if nobody comes for it; its files stay."""
HOME = "/amlexec/home"
"""The home folder of a script that is not root."""
_STOP_S = 30
"""For a container that is asked to end: it saves what it has."""


class Resources(NamedTuple):
    """What a run's container gets."""

    cores: float
    memory_gb: float
    gpu: str = ""
    """The resource's name, such as `nvidia.com/gpu`."""
    gpu_count: int = 0


def secret(place: Place, variables: Sequence[tuple[str, str]], job_uid: str) -> dict[str, Any]:
    """The variables of a run's container: the script's arguments and environment are in them.

    The cluster deletes it with its Job.
    """
    data = {name: base64.b64encode(value.encode()).decode() for name, value in variables}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": place.name, "uid": job_uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": place.name,
            "labels": _MANAGED,
            "annotations": {OWNER: place.owner},
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "immutable": True,
        "data": data,
    }


def job(
    place: Place, run_id: str, command: Sequence[str], wanted: Resources, written: Sequence[str] = ()
) -> dict[str, Any]:
    """The Job of a run: one Pod, once.

    `written` are folders that a run makes in its container: who is not root can't, and gets empty ones.
    """
    size = {"cpu": f"{round(1000 * wanted.cores)}m", "memory": f"{round(1000 * wanted.memory_gb)}M"}
    limits = {**size, **({wanted.gpu: str(wanted.gpu_count)} if wanted.gpu else {})}
    container = {
        "name": CONTAINER,
        "image": place.image,
        "command": list(command),
        "envFrom": [{"secretRef": {"name": place.name}}],
        "resources": {"requests": size, "limits": limits},
        "volumeMounts": [{"name": "storage", "mountPath": MOUNT, "subPath": f"{RUNS}/{place.name}"}],
    }
    found = _job(place, place.name, container, _STOP_S, written)
    found["metadata"]["annotations"] = {OWNER: place.owner, RUN: run_id}
    found["spec"]["ttlSecondsAfterFinished"] = _KEPT_S
    return found


def files_name(place: Place) -> str:
    """The name of the Job whose Pod looks into a claim: commands with the same needs share it."""
    unique = hashlib.sha256(f"{place.claim}\0{place.image}\0{place.needs}".encode()).hexdigest()[:16]
    return f"amlexec-files-{unique}"


def files_job(place: Place, command: Sequence[str]) -> dict[str, Any]:
    """The Job whose Pod looks into a claim."""
    size = {"cpu": "50m", "memory": "64Mi"}
    container = {
        "name": CONTAINER,
        "image": place.image,
        "command": list(command),
        "resources": {"requests": size, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "storage", "mountPath": MOUNT, "subPath": RUNS}],
    }
    found = _job(place, files_name(place), container, 1)
    found["spec"]["ttlSecondsAfterFinished"] = 0
    return found


def _job(
    place: Place, name: str, container: dict[str, Any], stop: int, written: Sequence[str] = ()
) -> dict[str, Any]:
    needs = needs_of(place)
    user = needs.pop(USER, None)
    volumes: list[dict[str, Any]] = [{"name": "storage", "persistentVolumeClaim": {"claimName": place.claim}}]
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": "serviceAccountName" in needs,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": stop,
        **needs,
        "containers": [container],
        "volumes": volumes,
    }
    if user is not None:
        pod["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            # The volume of the claim becomes its group's, where its kind of storage can do that.
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        for path in written:
            volume = path.strip("/").replace("/", "-")
            volumes.append({"name": volume, "emptyDir": {}})
            container["volumeMounts"].append({"name": volume, "mountPath": path})
    labels = {**_MANAGED, LABEL: name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            # A script that has failed is not run again by anybody but its user.
            "backoffLimit": 0,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
