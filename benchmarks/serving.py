"""Answer requests with a scoring script, beside bare uvicorn with the same function: 1, 8 and 64 clients."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from amlexec.runtime import SERVE
from benchmarks.timing import Command, Figure, Row, Sizes, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCORE = """
import math
WEIGHTS = [[0.1, 0.5, -0.3, 0.2, 0.7], [0.3, -0.2, 0.4, 0.1, -0.1], [-0.4, 0.2, 0.1, -0.6, 0.3]]
def init(): pass
def run(flowers: list) -> dict:
    found = []
    for flower in flowers:
        scores = [line[0] + sum(a * b for a, b in zip(line[1:], flower)) for line in WEIGHTS]
        powers = [math.exp(score - max(scores)) for score in scores]
        found.append([power / sum(powers) for power in powers])
    return {"probabilities": found}
"""
BARE = """
import json
from score import run
async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    answer = json.dumps(run(json.loads(body))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
"""
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 5.1, 1.8], [6.2, 2.9, 4.3, 1.3]]
CLIENTS = (1, 8, 64)


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The time for some requests, in interleaved rounds."""
    number = max(64, sizes.runs * 10)
    (folder / "score.py").write_text(SCORE)
    (folder / "bare.py").write_text(BARE)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_started(folder, is_ours=is_ours)) for is_ours in (True, False)]
        for clients in CLIENTS:
            name = f"{number} requests by {clients} client{'s' if clients > 1 else ''}"
            yield _row(name, [_load(port, clients, number) for port in servers], rounds, folder)


def _row(name: str, loads: list[Callable[[], None]], rounds: int, folder: Path) -> Row:
    times: list[list[float]] = [[] for _ in loads]
    for load in loads:
        load()
    for number in range(rounds):
        for step in range(len(loads)):
            at = (number + step) % len(loads)
            began = time.perf_counter()
            loads[at]()
            times[at].append((time.perf_counter() - began) * 1000)
    ratio = statistics.median(ours / bare for ours, bare in zip(*times, strict=True))
    unit = run(Command((sys.executable, "-c", "pass"), folder))
    ours, bare = (statistics.median(each) for each in times)
    return Row(name, ours, "bare uvicorn, same function", bare, ratio, Figure("ratio", 1.11), unit, rounds)


@contextlib.contextmanager
def _started(folder: Path, *, is_ours: bool) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    settings = {"script": str(folder / "score.py"), "port": port, "insecure": True, "access_log": False}
    (folder / "service.json").write_text(json.dumps(settings))
    command = [sys.executable, str(SERVE), str(folder / "service.json")]
    if not is_ours:
        uvicorn = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), "--loop", "asyncio"]
        command = [*uvicorn, "--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, AssertionError):
                _load(port, 1, 1, failed := [])()
                if not failed:
                    break
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _load(port: int, clients: int, number: int, failed: list[str] | None = None) -> Callable[[], None]:
    """Send that many requests over connections that are kept. Raises AssertionError, or fills `failed`."""
    body = json.dumps(FLOWERS).encode()
    head = "POST /score HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    message = head.encode() + body
    problems: list[str] = [] if failed is None else failed

    def one(count: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as connection:
                for _ in range(count):
                    connection.sendall(message)
                    answer = b""
                    while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
                        piece = connection.recv(65536)
                        answer += piece or b"nothing\r\n\r\n}"
                    if b" 200 OK" not in answer:
                        problems.append(repr(answer))
                        return
        except OSError as error:
            problems.append(repr(error))

    def all_of_them() -> None:
        threads = [threading.Thread(target=one, args=(number // clients,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed is not None or not problems, problems[0]

    return all_of_them
