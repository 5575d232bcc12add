"""The manifests of a service for Kubernetes: a Deployment and a Service. Values only; nothing is asked.

The key and the certificate are in Secrets of the cluster, which the manifests only name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker.reference import is_reference
from amlexec.errors import UsageError
from amlexec.images.labels import PREFIX
from amlexec.services.containers import KEYS
from amlexec.services.image import PORT, USER

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXPOSURES", "Manifest", "as_yaml", "documents", "key_secret"]

EXPOSURES = ("ClusterIP", "NodePort", "LoadBalancer")
"""How a cluster can offer a service."""
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""Of a Service: a DNS label (RFC 1035)."""
_OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_CERTIFICATES = f"{KEYS}-tls"
_LEAVE_S = 5
"""A replica goes on for so long after its removal from the Service, which takes its time."""
_GRACE_S = 40
"""For the requests that it has begun; the server itself gives up after 30 s."""
_INIT_S, _STEP_S = 300, 5


class Manifest(NamedTuple):
    """What a service is deployed with."""

    name: str
    image: str
    """Its reference in a registry."""
    namespace: str = ""
    """"" for that of the command that applies it."""
    replicas: int = 1
    memory: int = 0
    """The limit of a replica, in bytes; 0 for none."""
    cpus: float = 0.0
    gpus: int = 0
    expose: str = EXPOSURES[0]
    port: int = 0
    """Of the Service; 0 for 80, or 443 with a certificate."""
    key_secret: str = ""
    """The Secret with the key; "" for `NAME-key`."""
    insecure: bool = False
    certificate_secret: str = ""
    """The Secret with `certificate.pem`; "" for plain HTTP."""
    pull_secret: str = ""
    node_selector: Mapping[str, str] = {}


def key_secret(wanted: Manifest) -> str:
    """The name of the Secret with the key; "" if there is none."""
    return "" if wanted.insecure else wanted.key_secret or f"{wanted.name}-key"


def documents(wanted: Manifest) -> list[dict[str, Any]]:
    """The Service and the Deployment. Raises UsageError if the API server would refuse them."""
    _check(wanted)
    labels = {"app.kubernetes.io/name": wanted.name, "app.kubernetes.io/managed-by": "amlexec"}
    of_object: dict[str, Any] = {"name": wanted.name, "labels": labels}
    if wanted.namespace:
        of_object["namespace"] = wanted.namespace
    selector = {"app.kubernetes.io/name": wanted.name}
    name, port = ("https", 443) if wanted.certificate_secret else ("http", 80)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": of_object,
        "spec": {
            "type": wanted.expose,
            "selector": selector,
            "ports": [{"name": name, "port": wanted.port or port, "targetPort": name, "protocol": "TCP"}],
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": of_object,
        "spec": {
            "replicas": wanted.replicas,
            "selector": {"matchLabels": selector},
            # The new replicas take requests before the old ones end.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": 2 * _INIT_S,
            "template": {"metadata": {"labels": labels}, "spec": _pod(wanted, name)},
        },
    }
    return [service, deployment]


def as_yaml(found: list[dict[str, Any]]) -> str:
    """Documents as YAML, without a newline at the end."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Repeats equal values: a reader has to know neither anchors nor aliases."""

        def ignore_aliases(self, _: object) -> bool:
            return True

    return str(yaml.dump_all(found, Dumper=Dumper, sort_keys=False, width=110, explicit_start=True)).rstrip()


def _pod(wanted: Manifest, port_name: str) -> dict[str, Any]:
    mounts, volumes, variables = [], [], []
    if secret := key_secret(wanted):
        variables.append({"name": "AMLEXEC_SERVICE_KEY_FILE", "value": f"{KEYS}/key"})
        mounts.append({"name": "key", "mountPath": KEYS, "readOnly": True})
        volumes.append({"name": "key", "secret": {"secretName": secret, "defaultMode": 0o440}})
    else:
        variables.append({"name": "AMLEXEC_SERVICE_INSECURE", "value": "1"})
    if wanted.certificate_secret:
        file = f"{_CERTIFICATES}/certificate.pem"
        variables.append({"name": "AMLEXEC_SERVICE_CERTIFICATE", "value": file})
        mounts.append({"name": "certificate", "mountPath": _CERTIFICATES, "readOnly": True})
        source = {"secretName": wanted.certificate_secret, "defaultMode": 0o440}
        volumes.append({"name": "certificate", "secret": source})
    container: dict[str, Any] = {
        "name": "service",
        "image": wanted.image,
        "ports": [{"name": port_name, "containerPort": PORT, "protocol": "TCP"}],
        "env": variables,
        # `init` may take its time; a replica that can't begin ends by itself.
        "startupProbe": _probe("/readyz", port_name, _STEP_S, _INIT_S // _STEP_S),
        "readinessProbe": _probe("/readyz", port_name, _STEP_S, 3),
        "livenessProbe": _probe("/healthz", port_name, 10, 6),
        "lifecycle": {"preStop": {"exec": {"command": _sleep(_LEAVE_S)}}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if resources := _resources(wanted):
        container["resources"] = resources
    if mounts:
        container["volumeMounts"] = mounts
    pod: dict[str, Any] = {
        "containers": [container],
        "terminationGracePeriodSeconds": _LEAVE_S + _GRACE_S,
        "automountServiceAccountToken": False,
        # Else a Service that is called `amlexec-service` sets AMLEXEC_SERVICE_PORT, a setting of the server.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if volumes:
        pod["volumes"] = volumes
    if wanted.pull_secret:
        pod["imagePullSecrets"] = [{"name": wanted.pull_secret}]
    if wanted.node_selector:
        pod["nodeSelector"] = dict(wanted.node_selector)
    return pod


def _probe(path: str, port: str, period: int, failures: int) -> dict[str, Any]:
    asked = {"path": path, "port": port, "scheme": port.upper()}
    return {"httpGet": asked, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _sleep(seconds: int) -> list[str]:
    # The image needs to have no `sleep`.
    return [f"{PREFIX}/bin/python", "-I", "-S", "-c", f"import time; time.sleep({seconds})"]


def _resources(wanted: Manifest) -> dict[str, Any]:
    limits: dict[str, str] = {}
    if wanted.cpus:
        limits["cpu"] = f"{round(1000 * wanted.cpus)}m"
    if wanted.memory:
        limits["memory"] = _quantity(wanted.memory)
    requests = dict(limits)
    if wanted.gpus:
        limits["nvidia.com/gpu"] = str(wanted.gpus)
    found = {"requests": requests, "limits": limits}
    return {name: values for name, values in found.items() if values}


def _quantity(size: int) -> str:
    """A number of bytes as Kubernetes writes it: `2147483648` -> `2Gi`."""
    for suffix, unit in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)


def _check(wanted: Manifest) -> None:
    _must_match(
        _NAME,
        wanted.name,
        "name for a Kubernetes Service",
        "of at most 63 lowercase letters, digits and '-', beginning with a letter",
    )
    _check_image(wanted.image)
    if wanted.namespace:
        _must_match(_NAMESPACE, wanted.namespace, "namespace", "of lowercase letters, digits and '-'")
    for secret in (wanted.key_secret, wanted.certificate_secret, wanted.pull_secret):
        if secret:
            _must_match(_OBJECT, secret, "name of a Secret", "of lowercase letters, digits, '-' and '.'")
    for key, value in wanted.node_selector.items():
        if not (_LABEL_KEY.fullmatch(key) and _LABEL.fullmatch(value)):
            raise UsageError(f"{key}={value} is not a label of a node", hint="such as disktype=ssd")
    if not 0 <= wanted.port < 1 << 16:
        raise UsageError(f"{wanted.port} is not a port")
    if wanted.cpus and not 0.001 <= wanted.cpus <= 10_000:
        raise UsageError(f"{wanted.cpus:g} is not a number of processors")
    if not 0 <= wanted.gpus <= 1000:
        raise UsageError(f"{wanted.gpus} is not a number of GPUs")
    if wanted.insecure and wanted.key_secret:
        raise UsageError("a service without a key has no Secret for it", hint="leave one of the options out")


def _must_match(pattern: re.Pattern[str], text: str, what: str, form: str) -> None:
    if not pattern.fullmatch(text):
        raise UsageError(f"{text[:80]!r} is not a {what}", hint=f"choose one {form}")


def _check_image(text: str) -> None:
    if not is_reference(text) or text.startswith("sha256:"):
        raise UsageError(
            f"{text[:200]!r} is not the name of an image in a registry",
            hint="such as registry.example.org/team/prices@sha256:…, which `amlexec image push` prints",
        )
    if "/" not in text or text.startswith("amlexec-service/"):
        raise UsageError(
            f"{text} is an image of this engine, and a cluster can only pull from a registry",
            hint="push it: amlexec image push NAME REGISTRY/REPOSITORY; then give what that prints",
        )
