"""The channel of `kubectl exec`: streams over a WebSocket, as API servers have it (v4.channel.k8s.io)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import select
import struct
import threading
from typing import TYPE_CHECKING, Any

from amlexec.docker.containers import container_name
from amlexec.docker.streams import ContainerOutput, must_be_fine

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from amlexec.docker.client import Engine

__all__ = ["PROTOCOL", "accept", "run"]

PROTOCOL = "v4.channel.k8s.io"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_STDIN, _ERROR = 0, 3


def accept(key: str) -> str:
    """The answer to the key of a handshake (RFC 6455)."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()


def run(engine: Engine, container: str, command: list[str], connection: socket.socket) -> None:
    """Run a command in a container, with its streams over the connection."""
    lock = threading.Lock()

    def send(channel: int, data: bytes, opcode: int = _BINARY) -> None:
        payload = data if opcode != _BINARY else bytes([channel]) + data
        head = bytes([0x80 | opcode])
        size = len(payload)
        head += bytes([size]) if size < 126 else struct.pack("!BH", 126, size)
        with lock, contextlib.suppress(OSError, ValueError):
            connection.sendall(head + payload)

    with engine.asked(patient=True) as api:
        made = api.exec_create(container_name(container), command, stdin=True)["Id"]
        response = api.post(
            f"{api.base_url}/v{api.api_version}/exec/{made}/start",
            json={"Detach": False, "Tty": False},
            stream=True,
            timeout=None,
        )
        must_be_fine(response, engine.address)
        with ContainerOutput(engine.address, response) as output:
            given = output._body.fp.raw._sock
            over = threading.Event()
            words = (_Reader(connection, over, lock), given, send)
            reader = threading.Thread(target=_read, args=words, daemon=True)
            reader.start()
            for frame in output:
                # The most that fits into a frame with a length of 16 bits.
                for at in range(0, len(frame.data), 32000):
                    send(frame.stream, frame.data[at : at + 32000])
            over.set()
        code = api.exec_inspect(made)["ExitCode"]
    send(_ERROR, json.dumps(_status(code)).encode())
    send(0, struct.pack("!H", 1000), _CLOSE)
    # The server reads the connection next, and would take parts of frames.
    reader.join()


class _Reader:
    """Reads a connection to which another thread writes: never both at once, which TLS does not allow."""

    def __init__(self, connection: socket.socket, over: threading.Event, lock: threading.Lock) -> None:
        self._connection, self._over, self._lock = connection, over, lock
        self._held = b""

    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises EOFError."""
        while len(self._held) < size:
            with self._lock:
                pending = getattr(self._connection, "pending", int)()
            while not pending and not select.select([self._connection], [], [], 0.5)[0]:
                if self._over.is_set():
                    raise EOFError
            with self._lock:
                data = self._connection.recv(1 << 16)
            if not data:
                raise EOFError
            self._held += data
        found, self._held = self._held[:size], self._held[size:]
        return found


def _read(reading: _Reader, given: Any, send: Callable[..., None]) -> None:
    """Pass on standard input until the client leaves."""
    with contextlib.suppress(EOFError, OSError, ValueError):
        while True:
            first, second = reading.read(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", reading.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", reading.read(8))
            mask = int.from_bytes((reading.read(4) * (size // 4 + 1))[:size], "big")
            data = (int.from_bytes(reading.read(size), "big") ^ mask).to_bytes(size, "big")
            if first & 0x0F == _CLOSE:
                return
            if first & 0x0F == _PING:
                send(0, data, _PONG)
            elif data[:1] == bytes([_STDIN]):
                given.sendall(data[1:])


def _status(code: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {"metadata": {}, "status": "Success" if code == 0 else "Failure"}
    if code:
        causes = [{"reason": "ExitCode", "message": str(code)}]
        said = f"command terminated with non-zero exit code: exit status {code}"
        found |= {"reason": "NonZeroExitCode", "message": said, "details": {"causes": causes}}
    return found
