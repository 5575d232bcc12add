"""Which class runs scripts on a compute target: chosen by the kind in its file, imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from amlexec.model import ComputeTarget, Project
    from amlexec.targets.target import Target

__all__ = ["CannotRunError", "runs_on", "target_of"]


def target_of(project: Project, name: str, kind: str, where: str = "") -> Target:
    """The target of that kind.

    Raises:
        UsageError: there is no such kind yet.
    """
    if kind == "local":
        from amlexec.local_machine import LocalConnection
        from amlexec.targets.local import LocalTarget

        return LocalTarget(project, LocalConnection())
    if kind == "docker":
        from amlexec.docker.client import from_environment
        from amlexec.targets.docker import DockerTarget

        return DockerTarget(project, from_environment())
    if kind == "remotedocker":
        from amlexec.config import load as config
        from amlexec.docker.client import Engine
        from amlexec.docker.forward import SSHTransport
        from amlexec.ssh.connection import SSHConnection, login_of
        from amlexec.targets.docker import DockerTarget
        from amlexec.targets.ssh_volumes import SSHVolumes

        connection = SSHConnection(login_of(config.load_target(project, name)))
        transport = SSHTransport(connection)
        over = Engine(transport)
        return DockerTarget(project, over, SSHVolumes(project, connection, transport, over))
    if kind == "remote":
        from amlexec.config import load as config
        from amlexec.ssh.connection import SSHConnection, login_of
        from amlexec.targets.ssh import SSHTarget

        return SSHTarget(project, SSHConnection(login_of(config.load_target(project, name))))
    if kind == "cluster":
        from amlexec.config import load as config
        from amlexec.ssh.connection import SSHConnection, login_of
        from amlexec.targets.spark_cluster import SparkClusterTarget

        return SparkClusterTarget(project, SSHConnection(login_of(config.load_target(project, name))))
    raise CannotRunError(
        f"compute target {name!r} is of type {kind}; which this version can't run on",
        where=where,
        hint="name another target with -t",
    )


class CannotRunError(UsageError):
    """A compute target is of a kind that this version can't run."""


def runs_on(target: ComputeTarget, project: Project) -> Target:
    """The target that a `.compute` file declares. Raises as `target_of` does."""
    return target_of(project, target.name, target.kind, str(target.place))
