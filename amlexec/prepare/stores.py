"""The store of a compute target's environments."""

from __future__ import annotations

from amlexec import kinds
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore
    from amlexec.values import ComputeTarget

__all__ = ["store_of"]


def store_of(target: ComputeTarget) -> EnvironmentStore:
    """The store of a target whose environments amlexec prepares. No connections.

    Raises:
        ConfigurationError: its `.compute` file has a wrong reference.
        TargetError: the settings with its address can't be read.
    """
    assert kinds.is_prepared(target), "the environment is the user's own"
    kind = kinds.of(target.kind)
    if kind.environment == kinds.PREFIX:
        from amlexec.prefixes.store import PrefixStore
        from amlexec.ssh.connection import connection_of

        return PrefixStore(connection_of(target))
    from amlexec.docker.client import Engine, from_environment
    from amlexec.images.store import ImageStore

    if kind.is_service:
        from amlexec.images.published_store import PublishedStore
        from amlexec.images.registry import place

        where = place(target.registry)
        return PublishedStore(from_environment(), where, takes_any_size=kind.is_kubernetes)
    if kind.is_here:
        return ImageStore(from_environment())
    from amlexec.docker.forward import SSHTransport
    from amlexec.ssh.connection import SSHConnection, login_of

    return ImageStore(Engine(SSHTransport(SSHConnection(login_of(target)))))
