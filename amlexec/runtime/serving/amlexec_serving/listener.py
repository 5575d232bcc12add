"""The public port of a service with several replicas.

The listener opens the port and never reads from it. It hands the open socket to the replicas of the active
generation (SCM_RIGHTS, over a Unix socket in a folder that their containers share), which accept connections
from it; the kernel distributes them. To switch to another generation, the listener sends the socket to its
replicas, and tells the others to leave. Connections that nobody has accepted yet wait in the socket: none is
lost, and no request passes through a proxy.

Replicas send `GENERATION NAME`; the listener answers `J` with the socket, or `L`. Commands, on the same
socket: `activate GENERATION`, `state`.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any

from .settings import Settings

__all__ = ["follow", "listen", "tell"]

_AGAIN_S = 0.2
"""How long a replica waits before it asks for the listener again, in seconds."""
_ACTIVE = "active"
_REFUSAL = b'{"error": "no replica of the service is running"}'
_HEAD = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
_HEAD += "Connection: close\r\nContent-Length: {}\r\n\r\n".format(len(_REFUSAL))


class _Listener:
    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path)
        self._path = path
        self._patience = float(os.environ.get("AMLEXEC_SERVICE_PATIENCE", "10"))
        self._lock = threading.Lock()
        self._replicas: dict[socket.socket, tuple[int, str]] = {}
        self.public = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.public.bind(("0.0.0.0", int(os.environ.get("AMLEXEC_SERVICE_PORT", "8000"))))  # noqa: S104
        self.public.listen(4096)
        try:
            with open(os.path.join(self._folder, _ACTIVE), encoding="ascii") as file:
                self._active = int(file.read())
        except (OSError, ValueError):
            self._active = 0

    def serve(self) -> None:
        threading.Thread(target=self._refuse, daemon=True).start()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        server = socket.socket(socket.AF_UNIX)
        server.bind(self._path)
        server.listen(64)
        while True:
            client, _ = server.accept()
            threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError, UnicodeDecodeError):
            words = client.makefile("rb").readline(200).decode("ascii").split()
            if words[:1] == ["activate"] and len(words) == 2:
                self._activate(int(words[1]))
                client.sendall(b"{}\n")
            elif words == ["state"]:
                with self._lock:
                    found = {
                        "active": self._active,
                        "replicas": [
                            name for generation, name in self._replicas.values() if generation == self._active
                        ],
                    }
                client.sendall(json.dumps(found).encode() + b"\n")
            elif len(words) == 2:
                self._keep(client, int(words[0]), words[1])

    def _keep(self, client: socket.socket, generation: int, name: str) -> None:
        with self._lock:
            self._replicas[client] = generation, name
            self._send(client, generation)
        try:
            client.recv(1)  # until it ends
        finally:
            with self._lock:
                self._replicas.pop(client, None)

    def _refuse(self) -> None:
        """While there has been no replica for a time, answer 503: no client is to wait for ever."""
        alone_since = time.monotonic()
        while True:
            if self._has_replicas():
                alone_since = time.monotonic()
            if time.monotonic() - alone_since < self._patience:
                time.sleep(0.2)
                continue
            if select.select([self.public], [], [], 0.2)[0] and not self._has_replicas():
                with contextlib.suppress(OSError):
                    client, _ = self.public.accept()
                    threading.Thread(target=_refused, args=(client,), daemon=True).start()

    def _has_replicas(self) -> bool:
        with self._lock:
            return any(generation == self._active for generation, _ in self._replicas.values())

    def _activate(self, generation: int) -> None:
        with self._lock:
            self._active = generation
            beside = os.path.join(self._folder, _ACTIVE + ".new")
            with open(beside, "w", encoding="ascii") as file:
                file.write(str(generation))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, os.path.join(self._folder, _ACTIVE))
            # The new ones first: at every moment, somebody accepts.
            for client, (theirs, _) in sorted(
                self._replicas.items(), key=lambda one: one[1][0] != generation
            ):
                with contextlib.suppress(OSError):
                    self._send(client, theirs)

    def _send(self, client: socket.socket, generation: int) -> None:
        if generation != self._active:
            client.sendall(b"L")
            return
        rights = array.array("i", [self.public.fileno()])
        client.sendmsg([b"J"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _refused(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError):
        client.settimeout(5)
        client.recv(1 << 16)
        client.sendall(_HEAD.encode() + _REFUSAL)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass


def listen(path: str) -> int:
    """Keep the public port until SIGTERM; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        _Listener(path).serve()
    except OSError as error:
        sys.stderr.write("the listener failed: {}\n".format(error))
    return 1


def tell(path: str, command: str) -> int:
    """Send a command to the listener, and print its answer; the exit code."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(path)
            connection.sendall(command.encode("ascii") + b"\n")
            answer = connection.makefile("rb").readline(1 << 16)
    except OSError as error:
        sys.stderr.write("the listener does not answer: {}\n".format(error))
        return 1
    sys.stdout.write(answer.decode())
    return 0 if answer else 1


def follow(server: Any, settings: Settings) -> None:
    """Do what the listener says, for ever; reconnect if it was restarted."""
    name = socket.gethostname()
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(settings.join)
            connection.sendall("{} {}\n".format(settings.generation, name).encode("ascii", "replace"))
            _obey(server, connection)
        # Its socket led to a listener that is gone.
        _do(server, server.leave())
        time.sleep(_AGAIN_S)


def _obey(server: Any, connection: socket.socket) -> None:
    size = struct.calcsize("i")
    while True:
        word, extra, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(size))
        if not word:
            return
        if word == b"L":
            _do(server, server.retire())
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                (descriptor,) = struct.unpack("i", data[:size])
                _do(server, server.join(socket.socket(fileno=descriptor)))


def _do(server: Any, what: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the server has ended
        asyncio.run_coroutine_threadsafe(what, server.loop).result(10)
