"""Servers on the loopback: one of a folder, with a login where one is wanted, and what all have in common."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import ssl
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .azurite import Certificate

__all__ = ["QuietServer", "Site", "answering", "serve"]


class QuietServer(http.server.ThreadingHTTPServer):
    """Ends with its test, whatever its clients do."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Clients that go away are no error."""


@contextlib.contextmanager
def answering(server: http.server.HTTPServer, secured: Certificate | None = None) -> Iterator[None]:
    """Let a server answer while the block runs; over TLS, if it has a certificate."""
    if secured is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(secured.file, secured.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class Site(NamedTuple):
    """A folder that is served. `url` has no login in it; `requests` are the paths that were asked for."""

    url: str
    requests: list[str]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, site: Site, login: str, directory: str) -> None:
        self._site, self._login = site, login
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self._is_welcome():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_welcome():
            super().do_HEAD()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _is_welcome(self) -> bool:
        self._site.requests.append(self.path)
        if not self._login or self.headers.get("Authorization") == f"Basic {self._login}":
            return True
        self.send_response(http.HTTPStatus.UNAUTHORIZED)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False


@contextlib.contextmanager
def serve(folder: str, *, user: str = "", password: str = "") -> Iterator[Site]:
    """Serve a folder on a free port of 127.0.0.1 while the block runs; with `user`, only to who logs in."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}", [])
        server.RequestHandlerClass = functools.partial(_Handler, site=site, login=login, directory=folder)
        with answering(server):
            yield site
