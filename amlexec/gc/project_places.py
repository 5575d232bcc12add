"""The engines and machines of a project's compute targets, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from amlexec import kinds
from amlexec.config import load as config
from amlexec.errors import ConfigurationError
from amlexec.targets.registry import target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.gc.places import Place
    from amlexec.targets.docker import DockerTarget
    from amlexec.values import ComputeTarget, Project

__all__ = ["places"]


def places(project: Project, only: str) -> tuple[list[Place], dict[str, Exception]]:
    """The places of the target `only`, or of all targets; and errors in their files, by target.

    No connections.
    """
    found: dict[tuple[str, str, str], Place] = {}
    problems: dict[str, Exception] = {}
    for name in [only.removesuffix(".compute")] if only else config.compute_targets(project):
        try:
            target = config.load_target(project, name)
            for key, place in _places_of(project, target):
                found.setdefault(key, place).targets.add(target.name)
        except ConfigurationError as error:
            problems[name] = error
    return [*found.values()], problems


def _places_of(project: Project, target: ComputeTarget) -> Iterator[tuple[tuple[str, str, str], Place]]:
    kind = kinds.of(target.kind)
    if kind.over_ssh and kind.module:
        from amlexec.gc.machine_place import MachinePlace
        from amlexec.ssh.connection import connection_of

        machine = MachinePlace(project, target.name, connection_of(target))
        folder = target.shared_directory if kind.is_slurm_cluster else ""
        yield ("machine", f"{target.address} {folder}".rstrip(), target.username), machine
    if kind.in_container and kind.module:
        from amlexec.gc.engine_place import EnginePlace

        # The engine here also has the images of a cloud service.
        of = kinds.DOCKER.name if kind.is_service else target.kind
        docker = cast("DockerTarget", target_of(project, target.name, of))
        login = (target.address, target.username) if kind.over_ssh else ("", "")
        yield ("engine", *login), EnginePlace(project, target.name, docker.engine, docker)
