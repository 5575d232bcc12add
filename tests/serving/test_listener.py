"""The public port of a service: replicas take turns at it, and no request is lost. Without containers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.runtime import SERVE
from tests.conftest import PATIENCE, eventually
from tests.support.services import KEY, Reply, Served, begin, send

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = "import os\ndef init(): pass\ndef run(data):\n    return [{generation}, os.getpid()]\n"


class Service:
    """A listener and its replicas."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "listener.sock")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.replicas: list[Served] = []
        self.listener = self.listen()

    def listen(self) -> subprocess.Popen[bytes]:
        """Start the listener."""
        variables = {"AMLEXEC_SERVICE_PORT": str(self.port), "AMLEXEC_SERVICE_PATIENCE": "1"}
        command = [sys.executable, str(SERVE), "--listen", self.path]
        return subprocess.Popen(command, env={**os.environ, **variables})

    def replica(self, generation: int) -> Served:
        """Start a replica, until it is ready."""
        folder = self.folder / f"replica-{len(self.replicas)}"
        script = SCRIPT.format(generation=generation)
        name = f"{generation}-{len(self.replicas)}"
        found = begin(folder, script, JOIN=self.path, GENERATION=str(generation), DRAIN="5", REPLICA=name)
        self.replicas.append(found)
        found.wait_for(" ready after ")
        return found

    def tell(self, *words: str) -> Any:
        """Send the listener a command."""
        done = subprocess.run(
            [sys.executable, str(SERVE), "--tell", self.path, *words], capture_output=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def has(self, number: int) -> bool:
        """Whether the active generation has that many replicas."""
        try:
            return len(self.tell("state")["replicas"]) == number
        except AssertionError:
            return False

    def ask(self, path: str = "/score") -> Reply:
        """An answer at the public port."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            send(connection, path, body="1" if path == "/score" else None)
            return Reply(connection.getresponse())

    def close(self) -> None:
        """End all of it."""
        self.listener.kill()
        self.listener.wait()
        for replica in self.replicas:
            replica.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path)
    eventually(lambda: found.has(0), "the listener answers")
    try:
        yield found
    finally:
        found.close()


class Load(threading.Thread):
    """Clients that keep their connections, until they are told to stop."""

    def __init__(self, service: Service, clients: int = 4) -> None:
        super().__init__()
        self.stopped = threading.Event()
        self.answers: list[Any] = []
        self.failures: list[str] = []
        self._service = service
        self._clients = clients

    def run(self) -> None:
        threads = [threading.Thread(target=self._ask) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            while not self.stopped.is_set():
                try:
                    send(connection, body="1")
                    answer = Reply(connection.getresponse())
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                    connection.close()
                    continue
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {answer.body!r}")
                else:
                    self.answers.append(answer.json[0])


def test_an_update_under_load_loses_no_request(service: Service) -> None:
    old = [service.replica(1), service.replica(1)]
    service.tell("activate", "1")
    eventually(lambda: service.has(2), "both replicas are known")
    load = Load(service)
    load.start()
    for generation in (2, 3):
        new = [service.replica(generation), service.replica(generation)]
        service.tell("activate", str(generation))
        # The old ones end by themselves: all their clients have gone on to a new connection.
        assert [replica.end() for replica in old] == [0, 0]
        old = new
        seen = len(load.answers)
        eventually(lambda seen=seen: len(load.answers) > seen + 100, "requests are answered")  # type: ignore[misc]
    load.stopped.set()
    load.join(PATIENCE)
    assert load.failures == []
    assert set(load.answers) == {1, 2, 3}
    assert load.answers[-1] == 3


_CONNECTED_AT_THE_END = """
import asyncio, socket, threading
from amlexec_serving.server import _Server
from amlexec_serving.settings import Settings

server = _Server(Settings("score.py", port=0, drain=60.0))
server.bind()
threading.Thread(target=server.run, daemon=True).start()
server.running.wait()
public = socket.create_server(("127.0.0.1", 0))

async def race():
    await server.join(public.dup())
    client = socket.create_connection(public.getsockname())
    client.sendall(b"GET /livez HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n")
    # Accepted in the pass of the loop that begins the end, as if the listener had just said so.
    asyncio.get_running_loop().call_soon(asyncio.ensure_future, server.retire())
    return client

client = asyncio.run_coroutine_threadsafe(race(), server.loop).result()
client.settimeout(60)
print(client.makefile("rb").readline().decode().strip())
"""


def test_a_connection_that_is_accepted_as_a_replica_leaves_is_answered() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CONNECTED_AT_THE_END],
        env={**os.environ, "PYTHONPATH": str(SERVE.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "HTTP/1.1 200 OK\n", done.stderr


def test_a_replica_that_is_killed_leaves_the_others(service: Service) -> None:
    first, second = service.replica(1), service.replica(1)
    service.tell("activate", "1")
    eventually(lambda: service.has(2), "both replicas are known")
    first.close()
    eventually(lambda: service.has(1), "the killed one is gone")
    assert {service.ask().json[1] for _ in range(10)} == {second.process.pid}


def test_any_replica_has_the_counters_of_all(service: Service) -> None:
    replicas = [service.replica(1), service.replica(1), service.replica(1)]
    service.tell("activate", "1")
    eventually(lambda: service.has(3), "all replicas are known")
    for replica in replicas:  # at each of its own ports
        assert replica.ask(body="1").status == 200
    for _ in range(20):
        assert service.ask().status == 200
    for served in [*replicas, None]:
        text = (served or service).ask("/metrics").body.decode()
        counts = re.findall(
            r'^amlexec_service_requests_total\{replica="(1-[0-2])",route="/score",status="200"\} (\d+)$',
            text,
            re.MULTILINE,
        )
        assert {name for name, _ in counts} == {"1-0", "1-1", "1-2"}
        assert sum(int(count) for _, count in counts) == 23
        types = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        assert len(types) == len(set(types)) > 5
    replicas[1].close()
    text = service.ask("/metrics").body.decode()
    assert set(re.findall(r'_ready\{replica="([^"]+)"\} 1$', text, re.MULTILINE)) == {"1-0", "1-2"}
    assert len(list(service.folder.glob("*.peer"))) == 2


def test_without_replicas_clients_are_told(service: Service) -> None:
    replica = service.replica(1)
    service.tell("activate", "1")
    eventually(lambda: service.has(1), "the replica is known")
    assert service.ask().status == 200
    replica.close()
    answer = service.ask()
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.json == {"error": "no replica of the service is running"}
    service.replica(1)
    eventually(lambda: service.ask().status == 200, "another replica takes over")


def test_replicas_find_a_listener_that_was_started_again(service: Service) -> None:
    replica = service.replica(1)
    service.tell("activate", "1")
    eventually(lambda: service.has(1), "the replica is known")
    assert service.ask().status == 200
    service.listener.kill()
    service.listener.wait()
    service.listener = service.listen()
    eventually(lambda: service.has(1), "the replica has found it")
    assert service.ask().json == [1, replica.process.pid]
    assert service.tell("state")["active"] == 1
    assert KEY not in replica.log
