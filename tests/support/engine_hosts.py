"""Machines to log in to that have a Docker engine of their own, which may be stopped, killed and started."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import pytest

from amlexec.docker.client import Engine
from amlexec.docker.forward import SSHTransport
from tests.conftest import PATIENCE
from tests.engines import engine_host as image
from tests.engines.choice import kind_of_machines
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET, SHELLS
from tests.support import engine_images
from tests.support.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engines.engine_kinds import Kind
    from tests.support.hosts import Client
    from tests.support.places import Shop

__all__ = ["EngineHost", "engine_host", "engine_host_of_session", "new_engine_host"]

_PING = """\
import socket, time
until = time.monotonic() + {seconds}
while True:
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect({socket!r})
            asked.sendall(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
            if b" 200 " in asked.recv(99):
                break
    except OSError:
        pass
    assert time.monotonic() < until, "the engine does not answer"
    time.sleep(0.05)
"""
_LOAD = """\
import http.client, socket, sys
asked = http.client.HTTPConnection("localhost")
asked.sock = socket.socket(socket.AF_UNIX)
asked.sock.connect({socket!r})
asked.request("POST", "/images/load", sys.stdin.buffer, encode_chunked=True)
answer = asked.getresponse()
said = answer.read()
assert answer.status == 200, said
"""


SOCKET = "/var/run/docker.sock"
USER_ID = 1000 + len(SHELLS)
"""Of the quiet user, who comes after one for each shell."""


class EngineHost(Host):
    """A machine with an engine. Its containers have no network."""

    def __init__(self, engine: Engine, folder: Path, kind: Kind | None = None) -> None:
        """With the engine that the suite is about, by default."""
        super().__init__(engine, folder)
        self.kind = kind or kind_of_machines()
        self.socket = f"/run/user/{USER_ID}/podman/podman.sock" if self.kind.is_rootless else SOCKET

    def create(self, *, of: str = "", **settings: object) -> None:
        """Make the container and start it, and the engine in it."""
        host = {**image.settings(self.kind), **settings}
        super().create(of=of or image.reference(self.kind), **host)
        self.start_engine()

    def remove(self) -> None:
        """Remove the container, whatever its state, and the control groups that its engine has made."""
        super().remove()
        image.remove_groups(self.name)

    def start_engine(self, socket: str = "", *options: str) -> None:
        """Start the engine, and wait until it answers."""
        socket = socket or self.socket
        script = self.kind.script(socket, self.name, *options, alone=True, uid=USER_ID)
        self.ssh("cat >/run/engine", input=f"echo $$ >/run/engine.pid\n{script}".encode())
        self.ssh("setsid sh /run/engine >>/var/log/engine.log 2>&1 </dev/null &")
        self.ssh(f"python3 -c {shlex.quote(_PING.format(socket=socket, seconds=PATIENCE / 2))}")

    def stop_engine(self, signal: str = "TERM") -> None:
        """End the engine, and wait until it is gone. Its socket stays, as a killed one's does."""
        pid = self.ssh("cat /run/engine.pid").strip()
        self.ssh(f"kill -{signal} -{pid}; while kill -0 -{pid} 2>/dev/null; do sleep 0.05; done")

    @property
    def docker(self) -> Engine:
        """Its engine, over a connection that no other user has."""
        return Engine(SSHTransport(self.connection(QUIET if self.kind.is_rootless else "root")))

    def take(self, engine: Engine, image: str) -> None:
        """Copy an image from another engine."""
        with engine_images.save(engine, image) as stream:
            self.ssh(f"python3 -c {shlex.quote(_LOAD.format(socket=self.socket))}", input=stream.read())


@pytest.fixture(scope="session")
def engine_host_of_session(
    engine: Engine, machines: Engine, shop_of_session: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHost]:
    """One machine with an engine for a session of tests, which has the session's base image."""
    need("engine_host", f"the image {image.reference()}", image.is_there)
    with _machine(machines, tmp_path_factory.mktemp("engine-host")) as found:
        found.take(engine, shop_of_session.base)
        yield found


@pytest.fixture
def engine_host(engine_host_of_session: EngineHost, client: Client) -> EngineHost:
    """A machine with an engine, shared by all tests, which the user's `ssh` knows and logs in to."""
    client.knows(engine_host_of_session)
    client.configure("127.0.0.1", f"IdentityFile {engine_host_of_session.key}", "IdentitiesOnly yes")
    return engine_host_of_session


@pytest.fixture
def new_engine_host(machines: Engine, client: Client, tmp_path: Path) -> Iterator[Callable[..., EngineHost]]:
    """Start a machine with an engine that the test has for itself; settings are the engine's `HostConfig`."""
    need("engine_host", f"the image {image.reference()}", image.is_there)
    with contextlib.ExitStack() as started:

        def start(**settings: object) -> EngineHost:
            return started.enter_context(_machine(machines, tmp_path / "engine-host", **settings))

        yield start


@contextlib.contextmanager
def _machine(engine: Engine, folder: Path, **settings: object) -> Iterator[EngineHost]:
    machine = EngineHost(engine, folder)
    try:
        machine.create(**settings)
        yield machine
    finally:
        machine.remove()
