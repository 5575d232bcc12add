"""The two engines of a session of tests: the one that the suite is about, and the one that has its machines.

They are the same, this machine's own, unless AMLEXEC_TEST_ENGINE names another: then that one is in a machine
of its own, and listens at a socket in the folder of the parts.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from amlexec.docker import client

from .engine_kinds import USUAL, chosen
from .places import state

if TYPE_CHECKING:
    from pathlib import Path

    from .engine_kinds import Kind

__all__ = ["folder", "kind_of_machines", "machines", "socket", "under_test"]


@functools.cache
def machines() -> client.Engine:
    """The engine whose containers are machines of the tests. Raises TargetError."""
    # Asked for before DOCKER_HOST is that of the other one, and kept. By its address: the client of one from
    # the settings is made later, of the settings of then.
    return client.Engine(client.from_environment().address)


def under_test() -> client.Engine:
    """The engine that the suite is about. Raises TargetError."""
    kind = chosen()
    return client.from_environment() if kind is None else client.Engine(f"unix://{socket(kind)}")


def kind_of_machines() -> Kind:
    """What engine the machines of the tests have."""
    return chosen() or USUAL


def folder(kind: Kind) -> Path:
    """The folder of an engine's socket and log."""
    return state() / f"engine-{kind.name}-{os.getuid()}"


def socket(kind: Kind) -> Path:
    """Where it listens."""
    return folder(kind) / "s"
