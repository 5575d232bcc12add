"""A Pod's container on the Docker engine of the tests, by what the Pod's specification says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from amlexec.docker import containers, images
from amlexec.docker.errors import EngineAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.docker.client import Engine

__all__ = ["create", "pull"]

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def create(engine: Engine, pod: Mapping[str, Any], folders: Mapping[str, str], labels: dict[str, str]) -> str:
    """Create a Pod's one container; its id. `folders` are those of its volumes. An absent image is pulled."""
    (container,) = pod["containers"]
    security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    mounts = []
    for mount in container.get("volumeMounts", ()):
        folder = folders[mount["name"]] + (f"/{mount['subPath']}" if mount.get("subPath") else "")
        is_read_only = bool(mount.get("readOnly"))
        mounts.append(
            {"Type": "bind", "Source": folder, "Target": mount["mountPath"], "ReadOnly": is_read_only}
        )
    limits = container.get("resources", {}).get("limits", {})
    host: dict[str, Any] = {"Mounts": mounts, "CapDrop": security.get("capabilities", {}).get("drop", [])}
    if not security.get("allowPrivilegeEscalation", True):
        host["SecurityOpt"] = ["no-new-privileges"]
    if "memory" in limits:
        host["Memory"] = host["MemorySwap"] = size(limits["memory"])
    if "fsGroup" in security:
        host["GroupAdd"] = [str(security["fsGroup"])]
    settings: dict[str, Any] = {
        "Image": container["image"],
        "Env": [f"{each['name']}={each['value']}" for each in container.get("env", ())],
        "Labels": labels,
        "HostConfig": host,
    }
    if "runAsUser" in security:
        settings["User"] = f"{security['runAsUser']}:{security.get('runAsGroup', 0)}"
    if "command" in container:
        settings |= {"Entrypoint": container["command"], "Cmd": container.get("args", [])}
    if "workingDir" in container:
        settings["WorkingDir"] = container["workingDir"]
    try:
        return containers.create(engine, settings)
    except EngineAnswerError as error:
        if error.status != 404:
            raise
    pull(engine, container["image"])
    return containers.create(engine, settings)


def pull(engine: Engine, image: str) -> None:
    """Pull an image without a login. Raises EngineAnswerError."""
    name, label = images.split(image)
    with engine.asked(patient=True) as api:
        for message in api.pull(name, label, stream=True, decode=True, auth_config={}):
            if reason := message.get("error"):
                raise EngineAnswerError(str(reason), status=200)


def size(text: str) -> int:
    """The number of bytes of a quantity such as `512Mi`."""
    match = re.fullmatch(r"([0-9.]+)([kMG]|[KMG]i|)", text)
    assert match is not None, text
    return int(float(match[1]) * _UNITS[match[2]])
