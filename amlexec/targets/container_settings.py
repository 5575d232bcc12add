"""The engine's settings for a run's container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from amlexec.docker import labels as names
from amlexec.errors import TargetError
from amlexec.targets import shared_engine
from amlexec.targets.volumes import CHECKOUT, LOGGED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.docker.features import Features
    from amlexec.history.paths import RunPaths
    from amlexec.targets.target import Launch
    from amlexec.targets.volumes import Mount, RunVolumes
    from amlexec.values import Plan

__all__ = ["of_run"]

_SHM_BYTES = 2 << 30
"""As in Workbench: data loaders with several processes share memory there."""
_NOT_IN_CSV = re.compile(r'[",\r\n]')
_LOGS = {"local": {"max-size": "1000g", "max-file": "1", "compress": "false"}}
"""Options of log drivers that would delete old output."""


def of_run(
    paths: RunPaths,
    plan: Plan,
    launch: Launch,
    volumes: RunVolumes,
    features: Features,
    labels: Mapping[str, str],
    mounts: Sequence[Mount],
) -> dict[str, Any]:
    """The settings of a run's container, in the engine's own form; `labels` identify its project.

    `features` are the engine's.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
    """
    host: dict[str, Any] = {
        "Init": True,
        "ShmSize": _SHM_BYTES,
        "LogConfig": {"Type": features.log_driver, "Config": _LOGS.get(features.log_driver, {})},
    }
    if mounts:
        host |= _mounted(mounts, is_podman=features.is_podman)
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


def _mounted(mounts: Sequence[Mount], *, is_podman: bool) -> dict[str, Any]:
    """What is mounted, so that no character of a path means something else.

    Podman makes a line of comma-separated values of a mount, without quotes; in a bind, a colon is the only
    character that means something.

    Raises:
        TargetError: a path has both.
    """
    as_binds = [mount for mount in mounts if is_podman and ":" not in mount.source]
    as_mounts = [mount for mount in mounts if mount not in as_binds]
    if wrong := next((mount for mount in as_mounts if is_podman and _NOT_IN_CSV.search(mount.source)), None):
        raise TargetError(
            "Podman can't mount a folder whose path has a colon and a comma, a quote or a line break: "
            f"{wrong.source!r}",
            hint="rename the folder, or set sharedVolumes to false: the project is then copied in",
        )
    return {
        "Binds": [f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}" for mount in as_binds],
        "Mounts": [
            {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}
            for mount in as_mounts
        ],
    }


def _record(paths: RunPaths) -> dict[str, str]:
    """The label by which other computers find the run."""
    text = paths.record.read_text("utf-8", "surrogateescape")
    return {names.RECORD: shared_engine.record_label(text)}
