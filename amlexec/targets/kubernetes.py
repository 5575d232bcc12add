"""Runs as Jobs of a Kubernetes cluster."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from amlexec.errors import ConfigurationError, TargetError
from amlexec.images.labels import PREFIX
from amlexec.kubernetes import jobs
from amlexec.kubernetes.cluster import JOBS, SECRETS, Cluster
from amlexec.kubernetes.phase import View, phase_of, waits
from amlexec.kubernetes.place import USER, Place, is_name, of_texts
from amlexec.kubernetes.storage import ClaimStorage, events_of, pod_of
from amlexec.owner import owner_of, plain, resource_name
from amlexec.targets.service import ServiceView, Words
from amlexec.targets.service_command import COMMAND, variables
from amlexec.targets.service_place import read_state
from amlexec.targets.service_target import ServiceTarget
from amlexec.targets.target import State
from amlexec.targets.volumes import CHECKOUT, LOGGED, SITE

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.targets.target import Launch
    from amlexec.values import ComputeTarget, Project

__all__ = ["KubernetesTarget"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 3.0
_STATE_LIMIT = 1 << 16
_WRITTEN = (CHECKOUT, SITE, LOGGED, "/amlexec/out", jobs.HOME)
"""Folders that a run makes in its container."""


class Kubernetes:
    """Kubernetes: see `ContainerService`. `owner` is that of this project."""

    words = Words(
        gone="its Job is no longer in the cluster: somebody has deleted it",
        never="the cluster has no Job of it: it never began, or was deleted",
        stopped="the cluster has stopped its Pod",
        where="in the cluster",
        not_shared="a Pod has no shared directory of amlexec; AZUREML_NATIVE_SHARE_DIRECTORY is not set",
    )

    pause_s = 1.0
    """Each look is a process in the run's container."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._clusters: dict[tuple[str, str], Cluster] = {}
        self._storages: dict[Place, ClaimStorage] = {}

    def _cluster(self, place: Place) -> Cluster:
        key = place.context, place.namespace
        if key not in self._clusters:
            self._clusters[key] = Cluster(*key)
        return self._clusters[key]

    def log_in(self, target: ComputeTarget) -> None:
        """See `ContainerService.log_in`."""
        cluster = Cluster(target.context, target.namespace)
        if not cluster.is_allowed("create", "batch", "jobs"):
            raise TargetError(
                f"the login may not create Jobs in the namespace {target.namespace}",
                where=cluster.address,
                hint=f"amlexec computetarget check {target.name}",
            )

    def place(self, target: ComputeTarget, run_id: str, owner: str, image: str) -> Place:
        """See `ContainerService.place`."""
        where = str(target.place)
        if not is_name(target.namespace):
            raise ConfigurationError(
                f"namespace is {target.namespace!r}, which is not a valid name", where=where
            )
        if not is_name(target.claim, dots=True):
            raise ConfigurationError(f"claim is {target.claim!r}, which is not a valid name", where=where)
        needs: dict[str, Any] = {}
        if target.node_selector:
            needs["nodeSelector"] = dict(target.node_selector)
        if target.tolerations:
            needs["tolerations"] = [dict(each) for each in target.tolerations]
        if target.service_account:
            needs["serviceAccountName"] = target.service_account
        if target.pull_secret:
            needs["imagePullSecrets"] = [{"name": target.pull_secret}]
        if target.run_as_user:
            needs[USER] = target.run_as_user
        return Place(
            target.context,
            target.namespace,
            resource_name(run_id, owner),
            target.claim,
            image,
            json.dumps(needs),
            owner,
        )

    def user(self, target: ComputeTarget) -> tuple[str, str]:
        """See `ContainerService.user`."""
        return ("amlexec", jobs.HOME) if target.run_as_user else ("root", "/root")

    def kept(self, place: Place) -> dict[str, str]:
        """See `ContainerService.kept`."""
        return place._asdict()

    def place_of(self, kept: dict[str, str]) -> Place:
        """See `ContainerService.place_of`."""
        return of_texts(kept)

    def storage(self, place: Place) -> ClaimStorage:
        """See `ContainerService.storage`."""
        if place not in self._storages:
            self._storages[place] = ClaimStorage(
                place, self._cluster(place), self._owner, f"{PREFIX}/bin/python"
            )
        return self._storages[place]

    def create(self, place: Place, target: ComputeTarget, launch: Launch, run_id: str, image: str) -> None:
        """See `ContainerService.create`."""
        del image  # it is in the place
        cluster = self._cluster(place)
        given = variables(launch, run_id, jobs.MOUNT)
        wanted = jobs.Resources(
            target.cpu_cores,
            target.memory_gb,
            target.gpu_resource,
            target.gpu_count if target.gpu_resource else 0,
        )
        made = self._of_this_run(
            place, cluster.create(JOBS, jobs.job(place, run_id, COMMAND, wanted, _WRITTEN))
        )
        # Its Pod waits for it.
        uid = str((made.get("metadata") or {}).get("uid") or "")
        cluster.create(SECRETS, jobs.secret(place, given, uid))

    def reported(self, place: Place) -> State | None:
        """See `ContainerService.reported`: in the message that a container leaves, else in its files."""
        cluster = self._cluster(place)
        pod = pod_of(cluster, place.name)
        if pod is None:
            job = self._job(place)
            if job is not None and phase_of(job, None, (), 0).phase == "starting":
                return None
            data = self.storage(place).get("state", _STATE_LIMIT)
            return None if data is None else self._read(data, place)
        view = phase_of({}, pod, (), 0)
        if view.phase == "running":
            return State("running", view.began)
        if view.phase != "ended" or not view.message:
            return None
        state = self._read(view.message, place)
        # The cluster knows better than the run why it was stopped, or a process of it was killed.
        return state._replace(why=view.why) if view.why and state.exit_code else state

    def _read(self, data: bytes, place: Place) -> State:
        return read_state(data, self._cluster(place).address, self.words.stopped)

    def look(self, place: Place, age: float) -> ServiceView | None:
        """See `ContainerService.look`."""
        job = self._job(place)
        if job is None:
            return None
        view = self._view(place, job, age)
        return ServiceView(view.phase, view.why, view.warning, view.began, view.ended, view.exit_code)

    def _view(self, place: Place, job: dict[str, Any], age: float) -> View:
        cluster = self._cluster(place)
        pod = pod_of(cluster, place.name)
        events = events_of(cluster, pod, place.name) if waits(pod) else []
        return phase_of(job, pod, events, age)

    def _job(self, place: Place) -> dict[str, Any] | None:
        """The run's Job; None if there is none. Raises TargetError if it is not this run's."""
        found = self._cluster(place).get(JOBS, place.name)
        return None if found is None else self._of_this_run(place, found)

    def _of_this_run(self, place: Place, found: dict[str, Any]) -> dict[str, Any]:
        owner = (found.get("metadata") or {}).get("annotations") or {}
        if owner.get(jobs.OWNER) != place.owner:
            raise TargetError(
                f"the Job {place.name} is not this run's: its annotation {jobs.OWNER} is "
                f"{owner.get(jobs.OWNER, 'missing')!r:.80}",
                where=self._cluster(place).address,
            )
        return found

    def printed(self, place: Place, lines: int) -> str:
        """See `ContainerService.printed`."""
        cluster = self._cluster(place)
        pod = pod_of(cluster, place.name)
        return "" if pod is None else cluster.log(str(pod["metadata"]["name"]), jobs.CONTAINER, lines)

    def delete(self, place: Place, timeout: float) -> tuple[str, str] | None:
        """See `ContainerService.delete`."""
        cluster = self._cluster(place)
        if self._job(place) is not None:
            # The Job goes after its Pod.
            cluster.delete(JOBS, place.name, "Foreground")
            until, pause = time.monotonic() + timeout, _FIRST_PAUSE_S
            while cluster.get(JOBS, place.name) is not None:
                if time.monotonic() > until:
                    where = f"-n {place.namespace}" + (f" --context {place.context}" if place.context else "")
                    return (
                        f"the cluster has not deleted the Job {place.name} yet; its Pod may still run",
                        f"kubectl {where} get pods -l {jobs.LABEL}={place.name}",
                    )
                time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE_S)
        cluster.delete(SECRETS, place.name)
        return None


class KubernetesTarget(ServiceTarget[Place]):
    """Runs in Pods of a cluster."""

    def __init__(self, project: Project, engine: Engine) -> None:
        super().__init__(project, engine, Kubernetes(plain(owner_of(project))))
