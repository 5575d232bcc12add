"""One small question to an engine on a Unix socket, with nothing imported: "is it there?" must cost nothing.

docker-py costs 50 to 130 ms to import, which is a dozen times what the question itself takes. An answer that
is anything but plain is no answer: docker-py asks again, and says what is wrong.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["ABSENT", "get", "knock"]

ABSENT = "absent"
"""What `get` returns where the engine says that there is no such thing."""
_TIMEOUT_S = 60.0
_BLOCK = 1 << 16
_MOST = 64 << 20
"""Bytes of an answer; a larger one is not plain."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:@._-~")


def get(socket_path: str, path: str) -> dict[str, Any] | str | None:
    """What the engine says of `path`, such as `/images/NAME/json`: its object, ABSENT, or None for no answer.

    The interface is 1.41, that of Docker 20.10. An engine that speaks only newer ones gives no answer.
    """
    if not socket_path or not _PLAIN.issuperset(path):
        return None
    import socket

    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(_TIMEOUT_S)
            connected.connect(socket_path)
            connected.sendall(f"GET /v1.41{path} HTTP/1.0\r\n\r\n".encode())
            while part := connected.recv(_BLOCK):
                data += part
                if len(data) > _MOST:
                    return None
    except OSError:
        return None
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    status = head.split(b" ")[1:2]
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None  # JSON that was cut short is no JSON
    if not isinstance(value, dict):
        return None
    if status == [b"404"]:
        return ABSENT
    return value if status == [b"200"] else None


def knock(socket_path: str) -> None:
    """Connect once, and hang up. Raises OSError where nobody listens, or we may not."""
    import socket

    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(_TIMEOUT_S)
        connected.connect(socket_path)
