"""Serve the page of runs to this machine's browsers: GET only, behind an address that nobody can guess.

Another site that a browser shows must not read runs. So the server listens on the loopback only, it checks
the name under which it is asked (against DNS rebinding) and who asks, and its path has a random part.
"""

from __future__ import annotations

import gzip
import hmac
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from amlexec.errors import AmlexecError
from amlexec.report.page import live_policy

if TYPE_CHECKING:
    from amlexec.report.live_runs import LiveRuns

__all__ = ["PORT", "LiveServer"]

PORT = 8731
"""The port that is taken if it is free."""
_REQUEST_TIMEOUT_S = 10.0
_LONGEST_PATH = 4096
_WORTH_PACKING = 1 << 16
_HTML, _TEXT = "text/html; charset=utf-8", "text/plain; charset=utf-8"
_JSON, _BYTES = "application/json", "application/octet-stream"
_OF_A_RUN = {"curves": _BYTES, "details": _JSON, "packages": _JSON}
"""Methods of `LiveRuns` that take a run id, and the kinds of their answers."""


class LiveServer(ThreadingHTTPServer):
    """Serves on 127.0.0.1 until `shutdown`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, runs: LiveRuns, port: int) -> None:
        """Listen on `port`; 0 is any free one. Raises OSError if it can't be had."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.runs = runs
        self.token = secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes its connection is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    timeout = _REQUEST_TIMEOUT_S
    server_version = "amlexec"
    sys_version = ""

    def do_GET(self) -> None:
        if not self._is_ours():
            self._refuse(403)
            return
        path = self.path.partition("?")[0]
        token, _, inside = path[1:].partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            self._refuse(404)
            return
        try:
            self._answer(inside)
        except AmlexecError as error:
            self._send(503, _TEXT, error.message.encode("utf-8", "replace"))

    def _is_ours(self) -> bool:
        """Whether the request is for this server by its own name, and not from another site."""
        port = self.server.server_port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        return (
            len(self.path) <= _LONGEST_PATH
            and self.headers.get("Host") in hosts
            and (origin is None or origin in {f"http://{host}" for host in hosts})
            and self.headers.get("Sec-Fetch-Site") in {None, "none", "same-origin"}
        )

    def _answer(self, path: str) -> None:
        runs = self.server.runs
        what, _, name = path.partition("/")
        if path == "":
            self._send(200, _HTML, runs.document())
        elif path == "runs":
            tag, content = runs.runs()
            if self.headers.get("If-None-Match") == tag:
                self._send(304, _JSON, b"", tag)
            else:
                self._send(200, _JSON, content, tag)
        elif what == "code" and name:
            self._send(200, _JSON, runs.code(name.split("/")))
        elif what in _OF_A_RUN and (found := getattr(runs, what)(name)) is not None:
            self._send(200, _OF_A_RUN[what], found)
        else:
            self._refuse(404)

    def _refuse(self, status: int) -> None:
        self._send(status, _TEXT, b"")

    def send_error(self, code: int, *_: object) -> None:
        """Refuse what is not HTTP, and, with 405, every other method."""
        self.close_connection = True
        self._refuse(405 if code == 501 else code)

    def _send(self, status: int, kind: str, content: bytes, tag: str = "") -> None:
        packs = len(content) >= _WORTH_PACKING and "gzip" in self.headers.get("Accept-Encoding", "")
        if packs:
            content = gzip.compress(content, 1)
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"{live_policy()}; frame-ancestors 'none'",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        headers |= {"ETag": tag} if tag else {}
        headers |= {"Content-Encoding": "gzip"} if packs else {}
        headers |= {"Allow": "GET"} if status == 405 else {}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is logged: the path has the token."""
