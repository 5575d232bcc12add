"""Requests to a server by several clients, each over a connection that it keeps."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Load", "quantile"]


class Load(NamedTuple):
    """So many requests; GET if there is no body."""

    port: int
    path: str
    body: bytes
    clients: int
    number: int

    def run(self) -> list[float]:
        """Send them; the time of each, in seconds. Raises RuntimeError or OSError."""
        found: list[list[float]] = [[] for _ in range(self.clients)]
        problems: list[Exception] = []

        def one(at: int) -> None:
            try:
                found[at] = self._one(self.number // self.clients)
            except (OSError, RuntimeError) as error:
                problems.append(error)

        threads = [threading.Thread(target=one, args=(at,)) for at in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]
        return [seconds for each in found for seconds in each]

    def _one(self, count: int) -> list[float]:
        head = f"{'POST' if self.body else 'GET'} {self.path} HTTP/1.1\r\nHost: localhost\r\n"
        if self.body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n"
        message = head.encode() + b"\r\n" + self.body
        taken = []
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            # As every client library does.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                began = time.perf_counter()
                connection.sendall(message)
                answer = _answer(connection)
                taken.append(time.perf_counter() - began)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(repr(answer[:500]))
        return taken


def _answer(connection: socket.socket) -> bytes:
    """An answer with a Content-Length."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _piece(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    _, _, after = head.lower().partition(b"content-length:")
    length = int(after.partition(b"\r\n")[0] or b"0")
    while len(body) < length:
        body += _piece(connection)
    return head + body


def _piece(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise RuntimeError("the server has closed the connection")
    return piece


def quantile(values: Sequence[float], share: float) -> float:
    """Of the values, such as 0.99."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
