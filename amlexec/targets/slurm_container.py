"""The command that runs a script in an image on a node, by a container runtime there. Values only.

Only the run's folder, the runtime's files and the shared folder are in the container, at their own paths. It
shares the node's network and shared memory, which MPI and torch.distributed use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amlexec.values import ComputeTarget

__all__ = ["Mounts", "node_python", "words"]

_NODE_PYTHON = "python3"
"""On the nodes, outside of containers: starts the supervisor."""
_OF_NODES = ("SLURM_*", "OMPI_*", "PMIX_*", "PMI_*", "CUDA_VISIBLE_DEVICES")
_OF_RANKS = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)
_OF_RUN = ("AMLEXEC_RUN_ID", "AMLEXEC_RUN_FOLDER")
"""In a container of podman, `runtime/contained.sh` sets these."""
_CHANGE = 'cd "$1" && shift && exec "$@"'


class Mounts(NamedTuple):
    """Folders of the cluster that a container has."""

    run: str
    runtime: str
    shared: str
    """The runs' shared folder; "" for none."""


def node_python(target: ComputeTarget, python: str) -> str:
    """The Python on a node that starts the supervisor; `python` is the script's."""
    return _NODE_PYTHON if target.container else python


def words(target: ComputeTarget, mounts: Mounts, names: Iterable[str]) -> tuple[str, ...]:
    """The words before the script's own; () if scripts run without a container.

    `names` are those of the variables that the script gets. Their values are not among the words.
    """
    if not target.container:
        return ()
    return _RUNTIMES[target.container](target, mounts, tuple(dict.fromkeys((*names, *_OF_RANKS))))


def _podman(target: ComputeTarget, mounts: Mounts, names: tuple[str, ...]) -> tuple[str, ...]:
    volumes = [f"--volume={mounts.run}:{mounts.run}", f"--volume={mounts.runtime}:{mounts.runtime}:ro"]
    if mounts.shared:
        volumes.append(f"--volume={mounts.shared}:{mounts.shared}")
    gpus = ("--device=nvidia.com/gpu=all",) if _has_gpus(target) else ()
    # Slurm has made the control group. Without a login session, systemd makes none. The first process of a
    # container ignores most signals: --init passes them on.
    how = (
        "--cgroup-manager=cgroupfs",
        "run",
        "--rm",
        "--init",
        "--cgroups=disabled",
        "--network=host",
        "--ipc=host",
    )
    ours = (name for name in names if name not in _OF_RUN)
    variables = (f"--env={name}" for name in (*ours, *_OF_NODES, "AMLEXEC_CONTAINED_*"))
    where = ("--security-opt=label=disable", f"--workdir={mounts.run}/project")
    outer, inner = (("sh", f"{mounts.runtime}/contained.sh", side, mounts.run) for side in ("outer", "inner"))
    return (*outer, "podman", *how, *where, *volumes, *gpus, *variables, target.container_image, *inner)


def _apptainer(target: ComputeTarget, mounts: Mounts, names: tuple[str, ...]) -> tuple[str, ...]:
    del names  # it passes all variables but PATH
    binds = [f"--bind={mounts.run}", f"--bind={mounts.runtime}:{mounts.runtime}:ro"]
    if mounts.shared:
        binds.append(f"--bind={mounts.shared}")
    gpus = ("--nv",) if _has_gpus(target) else ()
    image = target.container_image
    if "://" not in image and not image.startswith("/"):
        image = f"docker://{image}"
    return ("apptainer", "exec", *gpus, *binds, f"--pwd={mounts.run}/project", image)


def _enroot(target: ComputeTarget, mounts: Mounts, names: tuple[str, ...]) -> tuple[str, ...]:
    folders = [mounts.run, mounts.runtime, *([mounts.shared] if mounts.shared else [])]
    binds = (word for folder in folders for word in ("--mount", f"{folder}:{folder}"))
    plain = (name for name in (*names, *_OF_NODES) if not name.endswith("*"))
    variables = (word for name in plain for word in ("--env", name))
    # It has no option for the working directory.
    change = ("sh", "-c", _CHANGE, "sh", f"{mounts.run}/project")
    return ("enroot", "start", *binds, *variables, target.container_image, *change)


def _has_gpus(target: ComputeTarget) -> bool:
    return any(each.strip().startswith("gpu") for each in target.gres.split(","))


_RUNTIMES: dict[str, Callable[[ComputeTarget, Mounts, tuple[str, ...]], tuple[str, ...]]] = {
    "apptainer": _apptainer,
    "podman": _podman,
    "enroot": _enroot,
}
