"""The engine's settings for a run's container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.docker import labels as names
from amlexec.targets import shared_engine
from amlexec.targets.volumes import CHECKOUT, LOGGED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.history.paths import RunPaths
    from amlexec.model import Plan
    from amlexec.targets.target import Launch
    from amlexec.targets.volumes import Mount, RunVolumes

__all__ = ["of_run"]

_SHM_BYTES = 2 << 30
"""As in Workbench: data loaders with several processes share memory there."""


def of_run(
    paths: RunPaths,
    plan: Plan,
    launch: Launch,
    volumes: RunVolumes,
    labels: Mapping[str, str],
    mounts: Sequence[Mount],
) -> dict[str, Any]:
    """The settings of a run's container, in the engine's own form; `labels` identify its project.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
    """
    host: dict[str, Any] = {
        "Init": True,
        "ShmSize": _SHM_BYTES,
        # The engine's other drivers replace bytes that are not UTF-8, or delete old output.
        "LogConfig": {
            "Type": "local",
            "Config": {"max-size": "1000g", "max-file": "1", "compress": "false"},
        },
    }
    if mounts:
        host["Mounts"] = [
            {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
            for mount in mounts
        ]
    if plan.target.nvidia_docker:
        host["DeviceRequests"] = [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]
    environment = {
        **launch.environment,
        "AMLEXEC_RUN_ID": paths.folder.name,
        "AMLEXEC_RUN_FOLDER": LOGGED,
    }
    return {
        "Image": launch.image_id,
        "Entrypoint": list(launch.argv[:1]),
        "Cmd": list(launch.argv[1:]),
        "WorkingDir": CHECKOUT,
        "User": f"{volumes.user.uid}:{volumes.user.gid}",
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            names.RUN: paths.folder.name,
            **labels,
            names.DIGEST: launch.digest,
            **(_record(paths) if volumes.owner else {}),
        },
        "HostConfig": host,
    }


def _record(paths: RunPaths) -> dict[str, str]:
    """The label by which other computers find the run."""
    text = paths.record.read_text("utf-8", "surrogateescape")
    return {names.RECORD: shared_engine.record_label(text)}
