"""The class of a compute target, as its kind's row names it; imported when it is used."""

from __future__ import annotations

from importlib import import_module

from amlexec import kinds
from amlexec.errors import CannotRunError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.targets.target import Target
    from amlexec.values import ComputeTarget, Project

__all__ = ["runs_on", "target_of"]


def target_of(
    project: Project, name: str, kind: str, where: str = "", *, for_new_run: bool = False
) -> Target:
    """The target of that kind, with the connection that the kind needs.

    For a new run, the engine is asked what that depends on, while the target is imported.

    Raises:
        CannotRunError: this version can't run scripts on targets of that kind.
    """
    found = kinds.of(kind)
    if not found.module:
        raise CannotRunError(name, kind, where, found.successor)
    engine = None
    if found.on_local_engine or found.is_service:
        from amlexec.docker.client import from_environment

        engine = from_environment()
        if found.on_local_engine and for_new_run:
            engine.look_ahead()
    target: Callable[..., Target] = getattr(import_module(f"amlexec.targets.{found.module}"), found.target)
    if engine is not None:
        return target(project, engine)
    if not found.over_ssh:
        from amlexec.local_machine import LocalConnection

        return target(project, LocalConnection())
    from amlexec.config import load as config
    from amlexec.ssh.connection import connection_of

    connection = connection_of(config.load_target(project, name))
    if not found.in_container:
        return target(project, connection)
    from amlexec.docker.client import Engine
    from amlexec.docker.forward import SSHTransport
    from amlexec.targets.ssh_volumes import SSHVolumes

    transport = SSHTransport(connection)
    engine = Engine(transport)
    return target(project, engine, SSHVolumes(project, connection, transport, engine))


def runs_on(target: ComputeTarget, project: Project) -> Target:
    """The target that a `.compute` file declares. Raises like `target_of`."""
    return target_of(project, target.name, target.kind, str(target.place), for_new_run=True)
