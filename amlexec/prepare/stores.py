"""Which place keeps the environments of a compute target."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore
    from amlexec.model import ComputeTarget

__all__ = ["is_prepared", "store_of"]

_ON_A_HOST = frozenset(["remote", "cluster"])
"""Kinds whose environments are folders of a machine over SSH; of a cluster, its head node."""


def is_prepared(target: ComputeTarget) -> bool:
    """Whether amlexec prepares the environment of a target, rather than its user."""
    if target.kind in _ON_A_HOST:
        return not target.user_managed_environment
    return target.kind in {"docker", "remotedocker"}


def store_of(target: ComputeTarget) -> EnvironmentStore:
    """The place of a target whose environment amlexec prepares. Nothing is connected or asked yet.

    Raises:
        ConfigurationError: its `.compute` file can't be followed.
        TargetError: the settings that say where it is can't be read.
    """
    assert is_prepared(target), "its environment is the user's"
    if target.kind in _ON_A_HOST:
        from amlexec.prefixes.store import PrefixStore
        from amlexec.ssh.connection import SSHConnection, login_of

        return PrefixStore(SSHConnection(login_of(target)))
    from amlexec.docker.client import Engine, from_environment
    from amlexec.images.store import ImageStore

    if target.kind == "docker":
        return ImageStore(from_environment())
    from amlexec.docker.forward import SSHTransport
    from amlexec.ssh.connection import SSHConnection, login_of

    return ImageStore(Engine(SSHTransport(SSHConnection(login_of(target)))))
