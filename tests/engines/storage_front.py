"""What is in front of Azurite in tests of faults: it passes requests on, and makes some of them fail."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import ssl
import urllib.parse
from typing import TYPE_CHECKING, NamedTuple

from .serving import QuietServer, answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .azurite import Certificate

__all__ = ["Front", "serve"]

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Front(NamedTuple):
    """Azurite with faults."""

    address: str
    faults: list[Callable[[str, str], int | None]]
    """Each gets the method and the path with its query; a status to answer with, 0 to cut the connection, or
    None to pass the request on. Tests remove them."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port = 0
    context: ssl.SSLContext
    faults: list[Callable[[str, str], int | None]]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = (fault(self.command, self.path) for fault in [*self.faults])
        status = next((one for one in found if one is not None), None)
        if status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if status is not None:
            code = "AuthenticationFailed" if status == 403 else "ServerBusy"
            self._reply(status, b"", {"x-ms-error-code": code})
            return
        with contextlib.closing(
            http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=60)
        ) as behind:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            behind.request(
                self.command, self.path, body or None, {**headers, "Content-Length": str(len(body))}
            )
            answer = behind.getresponse()
            self._reply(
                answer.status, answer.read(), dict(answer.getheaders()), answer.getheader("Content-Length")
            )

    do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = _do  # noqa: N815

    def _reply(self, status: int, data: bytes, headers: dict[str, str], length: str | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextlib.contextmanager
def serve(storage: str, secured: Certificate) -> Iterator[Front]:
    """A front of the storage account with that address."""
    parts = urllib.parse.urlsplit(storage)
    faults: list[Callable[[str, str], int | None]] = []
    trusting = ssl.create_default_context(cafile=str(secured.file))
    handler = type("Handler", (_Handler,), {"port": parts.port, "context": trusting, "faults": faults})
    with QuietServer(("127.0.0.1", 0), handler) as server, answering(server, secured):
        yield Front(f"https://127.0.0.1:{server.server_port}{parts.path}", faults)
