"""Which Docker engine a compute target has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker.engine import Engine, from_environment

if TYPE_CHECKING:
    from amlexec.model import ComputeTarget

__all__ = ["engine_of"]


def engine_of(target: ComputeTarget) -> Engine:
    """The engine of a target whose runs are containers. Nothing is connected or asked yet.

    Raises:
        ConfigurationError: its `.compute` file can't be followed.
        TargetError: Docker's settings here can't be read.
    """
    if target.kind == "docker":
        return from_environment()
    assert target.kind == "remotedocker", "it has no engine"
    from amlexec.docker.over_ssh import WayOverSSH
    from amlexec.ssh.connection import SSHConnection, login_of

    return Engine(WayOverSSH(SSHConnection(login_of(target))))
