"""Who runs the server's loop: the main thread, and another one during a long call."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.conftest import eventually
from tests.support.services import KEY, Reply, send, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.services import Served

SCRIPT = """
import asyncio, dataclasses, os, threading, time

@dataclasses.dataclass
class Odd:
    raises: bool

    def __post_init__(self):
        if self.raises:
            raise StopIteration

def init():
    global asked
    asked = 0

async def doubled(number):
    await asyncio.sleep(0)
    return 2 * number

def run(do: str = "", number: int = 0, odd: Odd = None):
    global asked
    asked += 1
    assert threading.current_thread() is threading.main_thread()
    until = time.monotonic() + 120
    while do == "wait" and not os.path.exists("go") and time.monotonic() < until:
        time.sleep(0.005)
    if do == "asyncio":
        return asyncio.run(doubled(number))
    if do == "large":
        return "x" * number
    return {"asked": asked, "number": number}
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, SCRIPT) as found:
        yield found


def test_during_a_long_call_kept_connections_are_answered_and_more_calls_wait(
    served: Served, tmp_path: Path
) -> None:
    kept, long, next_ = served.connect(), served.connect(), served.connect()
    for _ in range(3):
        send(kept, path="/healthz", method="GET", body=None)
        assert Reply(kept.getresponse()).status == 200
    for _ in range(3):  # the loop changes hands each time
        send(long, body={"do": "wait"})
        eventually(lambda: served.ask("/status").json["waiting"] == 1, "the call has begun")
        send(next_, body={"number": 5})
        eventually(lambda: served.ask("/status").json["waiting"] == 2, "the next call waits")
        send(kept, path="/readyz", method="GET", body=None)
        assert Reply(kept.getresponse()).status == 200
        (tmp_path / "go").touch()
        assert Reply(long.getresponse()).status == 200
        assert Reply(next_.getresponse()).json["number"] == 5
        assert served.ask(body={"number": 6}).json["number"] == 6
        (tmp_path / "go").unlink()
    for connection in (kept, long, next_):
        connection.close()


def test_no_error_of_a_script_ends_the_service(served: Served, tmp_path: Path) -> None:
    for _ in range(2):
        answer = served.ask(body={"odd": {"raises": True}})
        assert answer.status in (422, 500), answer.body
        assert served.ask(body={"number": 3, "odd": {"raises": False}}).json["number"] == 3
    script = "import sys\ndef init(): pass\nasync def run(data: int): sys.exit(data)\n"
    with serving(tmp_path / "async", script) as other:
        assert [other.ask(body=number).status for number in (0, 1)] == [500, 500]


def test_a_script_may_run_a_loop_of_its_own(served: Served) -> None:
    assert [served.ask(body={"do": "asyncio", "number": number}).json for number in (3, 4)] == [6, 8]


def test_each_of_many_clients_gets_its_own_answers(served: Served) -> None:
    def asked(client: int) -> list[int]:
        connection = served.connect()
        found = []
        for number in range(40):
            send(connection, body={"number": 1000 * client + number})
            found.append(Reply(connection.getresponse()).json["number"])
        connection.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(asked, range(8)))
    assert answers == [[1000 * client + number for number in range(40)] for client in range(8)]
    assert served.ask(body={}).json["asked"] == 8 * 40 + 1
    counts = served.ask("/status").json
    assert (counts["answers"], counts["waiting"]) == ({"200": 8 * 40 + 1}, 0)


def test_answers_of_any_size_and_requests_one_after_another_in_one_packet(served: Served) -> None:
    for size in (0, 1, 60_000, 70_000, 3_000_000):
        assert len(served.ask(body={"do": "large", "number": size}).json) == size
    one = '{"number": %d}'
    head = f"POST /score HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 13\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), 120) as connection:
        connection.sendall("".join(head + one % number for number in (1, 2, 3)).encode())
        received = b""
        while received.count(b'"number"') < 3:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
    assert [received.count(b'"number": %d}' % number) for number in (1, 2, 3)] == [1, 1, 1]
    connection = served.connect()
    send(connection, path="/healthz", method="HEAD", body=None)
    assert Reply(connection.getresponse()).status == 200
    connection.close()


def test_a_client_that_leaves_during_its_call_disturbs_no_other(served: Served, tmp_path: Path) -> None:
    gone = served.connect()
    send(gone, body={"do": "wait"})
    eventually(lambda: served.ask("/status").json["waiting"] == 1, "the call has begun")
    gone.close()
    (tmp_path / "go").touch()
    assert served.ask(body={"number": 7}).json["number"] == 7
    eventually(lambda: served.ask("/status").json["waiting"] == 0, "both calls have ended")
    served.process.terminate()
    assert served.end() == 0
