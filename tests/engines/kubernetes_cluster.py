"""A stand-in for a cluster: an API server for Jobs, and a node that really runs their Pods' containers.

It holds every request to the published description of Kubernetes (`kubernetes.py`), of the oldest and the
newest version of the tests, and runs a Pod's container on the Docker engine of the tests. A claim is a
folder. What a test wants to go wrong it writes into `faults`, or into `node`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import stat
import threading
import time
import urllib.parse
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError

from . import kubernetes as described
from . import kubernetes_channel, kubernetes_pods, kubernetes_security
from .kubernetes_api import Handler, discovered, not_found, status
from .serving import QuietServer, answering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.docker.client import Engine

    from .azurite import Certificate

__all__ = ["NAMESPACE", "Cluster", "Fault", "Node", "serve"]

NAMESPACE = "experiments"
CLAIM = "runs"
_TOKEN = "token-of-the-tests"
_KINDS = {
    "jobs": ("batch/v1", "Job"),
    "pods": ("v1", "Pod"),
    "secrets": ("v1", "Secret"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "events": ("v1", "Event"),
}
_PATH = re.compile(
    r"/(?:api/v1|apis/batch/v1)/namespaces/(?P<namespace>[^/]+)/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<part>[a-z]+))?)?"
)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_QUERIES = {
    "list": {"labelSelector", "fieldSelector"},
    "log": {"container", "tailLines", "limitBytes"},
    "exec": {"container", "command", "stdin", "stdout", "stderr"},
}


class Fault(NamedTuple):
    """What goes wrong with the next request of an operation, such as `create jobs` or `exec pods`."""

    operation: str
    status: int = 0
    """Of the answer; 0: the connection is cut."""
    reason: str = ""
    message: str = ""
    is_done: bool = False
    """Whether what was asked for is done all the same."""
    only: str = ""
    """The beginning of the names of objects that it hits; "" for all."""


class Node:
    """How Pods fare. A test sets what it needs; `reset` is how they usually do."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Everything works."""
        self.only = ""
        """The beginning of the names of Jobs that fare so; "" for all."""
        self.unschedulable = ""
        """Why no node takes a Pod."""
        self.waiting = ("", "")
        """Reason and message for which a container waits."""
        self.events: list[tuple[str, str, int]] = []
        """Reason, message and count of events of new Pods, or of Jobs without one."""
        self.no_pod = False
        """The Job's Pod can't be created."""
        self.is_restricted = False
        """The namespace enforces the Pod Security Standard `restricted`."""


class Cluster:
    """What the stand-in has, and has been asked."""

    def __init__(self, engine: Engine, folder: Path, labels: dict[str, str]) -> None:
        self._engine, self._folder, self._labels = engine, folder, labels
        self.address = ""
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.containers: dict[str, str] = {}
        """The engine's containers by Pods."""
        self.log: list[tuple[str, int]] = []
        """Operations with the status of their answers."""
        self.bodies: list[dict[str, Any]] = []
        """Of Jobs and Secrets that were asked for."""
        self.wrong: list[str] = []
        """What was against the published description."""
        self.faults: list[Fault] = []
        self.node = Node()
        self.denied: set[str] = set()
        """Rights that the login does not have, such as `create pods/exec`."""
        self.lock = threading.RLock()
        self._numbers = iter(range(1, 1 << 30))
        self.claim(CLAIM)

    def claim(self, name: str, phase: str = "Bound", mode: str = "ReadWriteMany") -> Path:
        """Make a claim; its folder."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        found = {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        shown = {"phase": phase, "accessModes": [mode], "capacity": {"storage": "1Gi"}}
        self._add("persistentvolumeclaims", name, {"spec": found, "status": shown})
        return folder

    def runs(self) -> list[str]:
        """The names of the folders of runs in the claim."""
        folder = self._folder / CLAIM / "amlexec"
        return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs of runs."""
        with self.lock:
            found = [each for (resource, _), each in self.objects.items() if resource == "jobs"]
        return [each for each in found if not each["metadata"]["name"].startswith("amlexec-files-")]

    def container_of(self, run_id: str) -> str:
        """The engine's container of a run; "" if there is none."""
        with self.lock:
            for job in self.jobs():
                if job["metadata"]["annotations"]["amlexec/run"] == run_id:
                    for pod in self._pods(job["metadata"]["name"]):
                        return self.containers.get(pod["metadata"]["name"], "")
        return ""

    # Objects

    def _add(self, resource: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        version, kind = _KINDS[resource]
        made = {"apiVersion": version, "kind": kind, **body}
        own = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": str(uuid.uuid4()),
            "resourceVersion": str(next(self._numbers)),
            "creationTimestamp": _now(),
        }
        made["metadata"] = {**body.get("metadata", {}), **own}
        with self.lock:
            self.objects[resource, name] = made
        return made

    def _pods(self, job: str) -> list[dict[str, Any]]:
        with self.lock:
            return [
                each
                for (resource, _), each in self.objects.items()
                if resource == "pods" and each["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job
            ]

    def event(self, about: str, reason: str, message: str, count: int = 1) -> None:
        """Add an event of an object."""
        kind = "Pod" if ("pods", about) in self.objects else "Job"
        self._add(
            "events",
            f"{about}.{next(self._numbers):x}",
            {
                "involvedObject": {"kind": kind, "name": about, "namespace": NAMESPACE},
                "reason": reason,
                "message": message,
                "count": count,
                "type": "Warning",
            },
        )

    # Operations

    def answer(self, operation: str, name: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and answer."""
        verb, resource = operation.split()
        if verb == "list":
            return 200, self._listed(resource, query)
        if verb == "create":
            return self._create(resource, body)
        with self.lock:
            found = self.objects.get((resource, name))
        if found is None:
            return 404, not_found(resource, name)
        if verb == "get":
            if resource == "jobs":
                self._refresh(name, self._pods(name))
            with self.lock:
                found = self.objects.get((resource, name))
            return (200, found) if found is not None else (404, not_found(resource, name))
        if verb == "log":
            return self._log(name, query)
        assert verb == "delete", operation
        self._delete(resource, name, (body or {}).get("propagationPolicy", "Background"))
        return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _listed(self, resource: str, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = dict(each.split("=", 1) for each in query.get("labelSelector", [""])[0].split(",") if each)
        about = query.get("fieldSelector", [""])[0].partition("involvedObject.name=")[2]
        version, kind = _KINDS[resource]

        def chosen() -> list[dict[str, Any]]:
            with self.lock:
                return [
                    each
                    for (of, _), each in self.objects.items()
                    if of == resource
                    and wanted.items() <= each["metadata"].get("labels", {}).items()
                    and (not about or each["involvedObject"]["name"] == about)
                ]

        items = chosen()
        if resource == "pods":
            for job in {each["metadata"]["labels"]["batch.kubernetes.io/job-name"] for each in items}:
                self._refresh(job, self._pods(job))
            items = chosen()
        return {"apiVersion": version, "kind": f"{kind}List", "metadata": {}, "items": items}

    def _create(self, resource: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        self.bodies.append(body)
        with self.lock:
            if (resource, name) in self.objects:
                return 409, status(409, "AlreadyExists", f'{resource} "{name}" already exists')
            made = self._add(resource, name, json.loads(json.dumps(body)))
        if resource == "jobs":
            made["status"] = {}
            threading.Thread(target=self._begin, args=(made,), daemon=True).start()
        return 201, made

    def _delete(self, resource: str, name: str, policy: str) -> None:
        with self.lock:
            found = self.objects.get((resource, name))
            if found is None:
                return
            if resource != "jobs":
                del self.objects[resource, name]
                return
            found["metadata"]["deletionTimestamp"] = _now()
            pods = self._pods(name)
            for pod in pods:
                pod["metadata"]["deletionTimestamp"] = _now()
            if policy == "Background":
                del self.objects[resource, name]
        threading.Thread(target=self._end, args=(found, pods), daemon=True).start()

    def _end(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> None:
        """Delete Pods, and then their Job."""
        for pod in pods:
            self.drop(pod)
        with self.lock:
            name, uid = job["metadata"]["name"], job["metadata"]["uid"]
            if self.objects.get(("jobs", name)) is job:
                del self.objects["jobs", name]
            for key, each in [*self.objects.items()]:
                if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences", ())):
                    del self.objects[key]

    def drop(self, pod: dict[str, Any]) -> None:
        """Delete a Pod: its container is asked to end."""
        name = pod["metadata"]["name"]
        with self.lock:
            container = self.containers.get(name, "")
        if container:
            containers.stop(self._engine, container, pod["spec"]["terminationGracePeriodSeconds"])
            containers.remove(self._engine, container, force=True)
        with self.lock:
            self.containers[name] = ""
            if self.objects.get(("pods", name)) is pod:
                del self.objects["pods", name]

    def evict(self, run_id: str) -> None:
        """Let the node stop a run's container, and say why."""
        with self.lock:
            (job,) = (j for j in self.jobs() if j["metadata"]["annotations"]["amlexec/run"] == run_id)
            (pod,) = self._pods(job["metadata"]["name"])
            pod["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
        containers.stop(self._engine, self.container_of(run_id), 30)

    def _log(self, name: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        container = self.containers.get(name, "")
        if not container:
            return 400, status(400, "BadRequest", f"container in pod {name!r} is waiting to start")
        with containers.logs(self._engine, container) as output:
            text = b"".join(frame.data for frame in output)
        lines = text.splitlines(keepends=True)[-int(query["tailLines"][0]) :]
        return 200, b"".join(lines)[: int(query["limitBytes"][0])]

    # The node

    def _begin(self, job: dict[str, Any]) -> None:
        name, node = job["metadata"]["name"], self.node
        is_hit = name.startswith(node.only)
        if is_hit and node.no_pod:
            for event in node.events:
                self.event(name, *event)
            return
        template = json.loads(json.dumps(job["spec"]["template"]))
        if node.is_restricted and (why := kubernetes_security.refusal(template["spec"])):
            message = f'pods "{name}-x" is forbidden: violates PodSecurity "restricted:latest": {why}'
            self.event(name, "FailedCreate", f"Error creating: {message}", 3)
            return
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": name}
        pod = {"metadata": {"labels": labels}, "spec": template["spec"], "status": {"phase": "Pending"}}
        with self.lock:
            if self.objects.get(("jobs", name)) is not job:
                return
            made = self._add("pods", f"{name}-{uuid.uuid4().hex[:5]}", pod)
        if is_hit and (node.unschedulable or node.waiting[0]):
            self._wait(made, node)
            return
        self._waits(made, "ContainerCreating", "")
        try:
            self._start(made)
        except EngineAnswerError as error:
            self.event(made["metadata"]["name"], "Failed", f"Failed to pull image: {error.reason}", 3)
            self._waits(made, "ErrImagePull", error.reason)

    def _wait(self, pod: dict[str, Any], node: Node) -> None:
        if node.unschedulable:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            pod["status"] |= {"conditions": [{**condition, "message": node.unschedulable}]}
        else:
            self._waits(pod, *node.waiting)
        for event in node.events:
            self.event(pod["metadata"]["name"], *event)

    def _waits(self, pod: dict[str, Any], reason: str, message: str) -> None:
        self._shows(pod, {"waiting": {"reason": reason, **({"message": message} if message else {})}})

    def _shows(self, pod: dict[str, Any], state: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"]
        shown = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False}
        pod["status"]["containerStatuses"] = [{**shown, "restartCount": 0, "state": state}]

    def _start(self, pod: dict[str, Any]) -> None:
        spec = json.loads(json.dumps(pod["spec"]))
        name = pod["metadata"]["name"]
        (container,) = spec["containers"]
        folders = {each["name"]: str(self._volume(each, name, spec)) for each in spec["volumes"]}
        for mount in container["volumeMounts"]:
            root = Path(folders[mount["name"]])
            folder = root / mount.get("subPath", "")
            if not folder.exists():
                # A kubelet makes it too, with the permissions of the volume.
                folder.mkdir(parents=True)
                folder.chmod(stat.S_IMODE(root.stat().st_mode))
        message = self._folder / f"{name}.message"
        message.touch()
        message.chmod(0o666)
        container["volumeMounts"].append({"name": "message", "mountPath": "/dev/termination-log"})
        variables = []
        for source in container.get("envFrom", ()):
            secret = self._secret(pod, source["secretRef"]["name"])
            if secret is None:
                return
            variables += [
                {"name": key, "value": base64.b64decode(value).decode()}
                for key, value in secret["data"].items()
            ]
        container["env"] = [*container.get("env", ()), *variables]
        made = kubernetes_pods.create(self._engine, spec, {**folders, "message": str(message)}, self._labels)
        with self.lock:
            if pod["metadata"].get("deletionTimestamp"):
                containers.remove(self._engine, made, force=True)
                return
            self.containers[name] = made
        containers.start(self._engine, made)

    def _volume(self, volume: dict[str, Any], pod: str, spec: dict[str, Any]) -> Path:
        """The folder of a volume, which belongs to the group that the Pod asks for."""
        if "emptyDir" in volume:
            folder = self._folder / f"{pod}.{volume['name']}"
            folder.mkdir()
            folder.chmod(0o777)
            return folder
        folder = self._folder / volume["persistentVolumeClaim"]["claimName"]
        if group := spec.get("securityContext", {}).get("fsGroup"):
            try:
                os.chown(folder, -1, group)
                folder.chmod(0o2775)
            except PermissionError:  # the tests are not run by root
                folder.chmod(0o2777)
        return folder

    def _secret(self, pod: dict[str, Any], name: str) -> dict[str, Any] | None:
        """A Secret, for which a Pod waits; None if the Pod was deleted."""
        while not pod["metadata"].get("deletionTimestamp"):
            with self.lock:
                if ("secrets", name) in self.objects:
                    return self.objects["secrets", name]
            self._waits(pod, "CreateContainerConfigError", f'secret "{name}" not found')
            time.sleep(0.05)
        return None

    def _refresh(self, name: str, pods: list[dict[str, Any]]) -> None:
        """Let a Job and its Pods say what the engine's containers do."""
        with self.lock:
            for pod in pods:
                self._refresh_pod(pod)
            job = self.objects.get(("jobs", name))
            if job is not None and self._is_over(job):
                del self.objects["jobs", name]
                for pod in pods:
                    threading.Thread(target=self.drop, args=(pod,), daemon=True).start()

    def _refresh_pod(self, pod: dict[str, Any]) -> None:
        if pod["status"]["phase"] in {"Failed", "Succeeded"}:
            return
        container = self.containers.get(pod["metadata"]["name"], "")
        found = containers.inspect(self._engine, container) if container else None
        if found is None:
            return
        told = found["State"]
        if told["Status"] == "running":
            pod["status"]["phase"] = "Running"
            self._shows(pod, {"running": {"startedAt": _short(told["StartedAt"])}})
        elif told["Status"] == "exited":
            code = told["ExitCode"]
            pod["status"]["phase"] = "Failed" if code else "Succeeded"
            reason = "OOMKilled" if told.get("OOMKilled") else "Error" if code else "Completed"
            ended = {"exitCode": code, "reason": reason}
            ended |= {"startedAt": _short(told["StartedAt"]), "finishedAt": _short(told["FinishedAt"])}
            message = (self._folder / f"{pod['metadata']['name']}.message").read_text()
            self._shows(pod, {"terminated": {**ended, **({"message": message} if message else {})}})

    def _is_over(self, job: dict[str, Any]) -> bool:
        """Say whether it has ended; whether it is deleted for that."""
        for pod in self._pods(job["metadata"]["name"]):
            phase = pod["status"]["phase"]
            if phase in {"Failed", "Succeeded"}:
                kind = "Complete" if phase == "Succeeded" else "Failed"
                condition = {"type": kind, "status": "True", "lastTransitionTime": _now()}
                job["status"] = {"conditions": [condition]}
                return bool(job["spec"]["ttlSecondsAfterFinished"] == 0)
        return False

    def close(self) -> None:
        """End what is still running."""
        with self.lock:
            left = [each for each in self.containers.values() if each]
        for each in left:
            containers.remove(self._engine, each, force=True)


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _short(moment: str) -> str:
    """A moment as Kubernetes has it: in seconds."""
    return f"{moment[:19]}Z"


class _Handler(Handler):
    cluster: Cluster

    def do_GET(self) -> None:
        self._do()

    def _do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
        body = json.loads(text) if text else None
        if self.headers.get("Authorization") != f"Bearer {_TOKEN}":
            self.reply(401, status(401, "Unauthorized", "Unauthorized"))
            return
        if self.command == "GET" and (found := discovered(parts.path)) is not None:
            self.reply(200, found)
            return
        if self.command == "POST" and parts.path == _REVIEWS:
            self._review(body)
            return
        match = _PATH.fullmatch(urllib.parse.unquote(parts.path))
        if match is None or match["resource"] not in _KINDS:
            self.cluster.wrong.append(f"no such path: {self.command} {parts.path}")
            self.reply(404, status(404, "NotFound", "the server could not find the requested resource"))
            return
        verb = match["part"] or {"POST": "create", "DELETE": "delete"}.get(self.command, "")
        verb = verb or ("get" if match["name"] else "list")
        self._operation(f"{verb} {match['resource']}", match, query, body)

    do_POST = do_DELETE = do_PUT = do_PATCH = _do  # noqa: N815

    def _operation(
        self, operation: str, match: re.Match[str], query: dict[str, list[str]], body: Any
    ) -> None:
        cluster, verb = self.cluster, operation.partition(" ")[0]
        wrong = self._wrong(verb, query, body)
        if wrong:
            cluster.wrong += [f"{operation}: {each}" for each in wrong]
            self._answer(operation, 422, status(422, "Invalid", "; ".join(wrong)))
            return
        if match["namespace"] != NAMESPACE or self._is_denied(operation):
            self._answer(operation, 403, status(403, "Forbidden", f"{operation}: you may not"))
            return
        name = str(match["name"] or ((body or {}).get("metadata") or {}).get("name") or "")
        hits = (each for each in cluster.faults if each.operation == operation)
        fault = next((each for each in hits if name.startswith(each.only)), None)
        if fault is not None:
            cluster.faults.remove(fault)
            if fault.is_done:
                cluster.answer(operation, match["name"], query, body)
            if fault.status:
                self._answer(operation, fault.status, status(fault.status, fault.reason, fault.message))
                return
        if fault is not None and verb != "exec":
            cluster.log.append((operation, 0))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if verb == "exec":
            self._exec(match["name"], query, is_cut=fault is not None)
            return
        self._answer(operation, *cluster.answer(operation, match["name"] or "", query, body))

    def _wrong(self, verb: str, query: dict[str, list[str]], body: Any) -> list[str]:
        found = [f"unknown parameter {name}" for name in query if name not in _QUERIES.get(verb, set())]
        if (verb in {"create", "delete"}) is not (body is not None):
            found.append("it has a body" if body is not None else "it has no body")
        if body is not None:
            for version in described.VERSIONS:
                found += [f"{version}: {each}" for each in described.problems(body, version)]
        return found

    def _is_denied(self, operation: str) -> bool:
        verb, _, resource = operation.partition(" ")
        right = {"exec": "create pods/exec", "log": "get pods/log"}.get(verb, f"{verb} {resource}")
        return right in self.cluster.denied

    def _review(self, body: Any) -> None:
        for version in described.VERSIONS:
            self.cluster.wrong += described.problems(body, version)
        wanted = body["spec"]["resourceAttributes"]
        part = f"/{wanted['subresource']}" if "subresource" in wanted else ""
        denied = f"{wanted['verb']} {wanted['resource']}{part}" in self.cluster.denied
        self.reply(201, {**body, "status": {"allowed": not denied}})

    def _answer(self, operation: str, code: int, answer: Any) -> None:
        self.cluster.log.append((operation, code))
        if isinstance(answer, bytes):
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            return
        self.reply(code, answer)

    def _exec(self, name: str, query: dict[str, list[str]], *, is_cut: bool) -> None:
        cluster = self.cluster
        container = cluster.containers.get(name, "")
        offered = self.headers.get("Sec-WebSocket-Protocol", "")
        if kubernetes_channel.PROTOCOL not in offered:
            cluster.wrong.append(f"exec: it offers {offered}")
        if not container:
            self._answer("exec pods", 404, not_found("pods", name))
            return
        cluster.log.append(("exec pods", 101))
        self.close_connection = True
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        key = self.headers["Sec-WebSocket-Key"]
        self.send_header("Sec-WebSocket-Accept", kubernetes_channel.accept(key))
        self.send_header("Sec-WebSocket-Protocol", kubernetes_channel.PROTOCOL)
        self.end_headers()
        self.wfile.flush()
        if is_cut:
            return
        with contextlib.suppress(EngineAnswerError, OSError):
            kubernetes_channel.run(cluster._engine, container, query["command"], self.connection)


@contextlib.contextmanager
def serve(engine: Engine, folder: Path, secured: Certificate, labels: dict[str, str]) -> Iterator[Cluster]:
    """The cluster on a free port of 127.0.0.1. Its containers have the labels; `config` is a kubeconfig."""
    cluster = Cluster(engine, folder, labels)
    handler = type("Of", (_Handler,), {"cluster": cluster, "changes": []})
    with QuietServer(("127.0.0.1", 0), handler) as server:
        cluster.address = f"https://127.0.0.1:{server.server_port}"
        try:
            with answering(server, secured):
                yield cluster
        finally:
            cluster.close()


def kubeconfig(address: str, secured: Certificate, token: str = _TOKEN) -> dict[str, Any]:
    """A kubeconfig with one context, `tests`."""
    at = {"server": address, "certificate-authority": str(secured.file)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stand-in", "cluster": at}],
        "users": [{"name": "ada", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "stand-in", "user": "ada"}}],
        "current-context": "tests",
    }
