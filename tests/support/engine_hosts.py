"""Machines to log in to that have a Docker engine of their own, which may be stopped, killed and started."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.docker.client import Engine
from amlexec.docker.forward import SSHTransport
from tests.conftest import eventually
from tests.engines import engine_host as image
from tests.engines.fixtures import need
from tests.support import engine_images
from tests.support.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.hosts import Client
    from tests.support.places import Shop

__all__ = ["EngineHost", "engine_host", "engine_host_of_session", "new_engine_host"]

_CAPABILITIES = (
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "DAC_READ_SEARCH",
    "SYS_NICE",
    "IPC_LOCK",
    "SYSLOG",
)
"""What an engine needs of a container that need not be a privileged one."""
_DATA = "/var/lib/docker"


class EngineHost(Host):
    """A machine with an engine. Its containers have no network."""

    def create(self, *, of: str = image.REFERENCE, **settings: object) -> None:
        """Make the container and start it, and the engine in it."""
        host = {
            "CapAdd": list(_CAPABILITIES),
            "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "DeviceCgroupRules": ["a *:* rwm"],
            "CgroupnsMode": "host",
            "Binds": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
            # An unnamed volume goes with the container.
            "Mounts": [{"Type": "volume", "Target": _DATA}],
            **settings,
        }
        super().create(of=of, **host)
        self.start_engine()

    def remove(self) -> None:
        """Remove the container, whatever its state, and the control groups that its engine has made."""
        super().remove()
        groups = Path("/sys/fs/cgroup")
        for root in (groups / self.name, *groups.glob(f"*/{self.name}")):
            for at, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(at).rmdir()

    def start_engine(self, socket: str = "/var/run/docker.sock", *options: str) -> None:
        """Start the engine, and wait until it answers."""
        # In a network of its own: an engine without a bridge removes the one that another engine has.
        words = [
            "setsid",
            "unshare",
            "--net",
            "dockerd",
            f"--host=unix://{socket}",
            "--group=docker",
            "--bridge=none",
        ]
        words += ["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        words += [f"--cgroup-parent=/{self.name}", "--exec-opt=native.cgroupdriver=cgroupfs"]
        words += ["--shutdown-timeout=5", f"--pidfile=/var/run/docker-{self.name}.pid", *options]
        self.ssh(
            f"rm -f /var/run/docker-{self.name}.pid /var/run/docker/containerd/containerd.pid\n"
            f"{' '.join(words)} >>/var/log/dockerd.log 2>&1 </dev/null &\n"
        )
        asked = f"docker --host unix://{socket} version >/dev/null 2>&1 && echo yes || true"
        eventually(lambda: self.ssh(asked) == "yes\n", "the engine answers")

    def stop_engine(self, signal: str = "TERM") -> None:
        """End the engine, and wait until it is gone. Its socket stays, as a killed one's does."""
        pid = self.ssh(f"cat /var/run/docker-{self.name}.pid").strip()
        self.ssh(f"kill -{signal} {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.05; done")

    @property
    def docker(self) -> Engine:
        """Its engine, over a connection that no other user has."""
        return Engine(SSHTransport(self.connection("root")))

    def take(self, engine: Engine, image: str) -> None:
        """Copy an image from another engine."""
        with engine_images.save(engine, image) as stream:
            self.ssh("docker load --quiet >/dev/null", input=stream.read())


@pytest.fixture(scope="session")
def engine_host_of_session(
    engine: Engine, shop_of_session: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHost]:
    """One machine with an engine for a session of tests, which has the session's base image."""
    need("engine_host", f"the image {image.REFERENCE}", image.is_there)
    with _machine(engine, tmp_path_factory.mktemp("engine-host")) as found:
        found.take(engine, shop_of_session.base)
        yield found


@pytest.fixture
def engine_host(engine_host_of_session: EngineHost, client: Client) -> EngineHost:
    """A machine with an engine, shared by all tests, which the user's `ssh` knows and logs in to."""
    client.knows(engine_host_of_session)
    client.configure("127.0.0.1", f"IdentityFile {engine_host_of_session.key}", "IdentitiesOnly yes")
    return engine_host_of_session


@pytest.fixture
def new_engine_host(engine: Engine, client: Client, tmp_path: Path) -> Iterator[Callable[..., EngineHost]]:
    """Start a machine with an engine that the test has for itself; settings are the engine's `HostConfig`."""
    need("engine_host", f"the image {image.REFERENCE}", image.is_there)
    with contextlib.ExitStack() as started:

        def start(**settings: object) -> EngineHost:
            return started.enter_context(_machine(engine, tmp_path / "engine-host", **settings))

        yield start


@contextlib.contextmanager
def _machine(engine: Engine, folder: Path, **settings: object) -> Iterator[EngineHost]:
    machine = EngineHost(engine, folder)
    try:
        machine.create(**settings)
        yield machine
    finally:
        machine.remove()
