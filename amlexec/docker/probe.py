"""One GET request to an engine on a Unix socket, without docker-py, for fast existence checks.

docker-py takes 50 to 130 ms to import, a dozen times as long as the request. Any unusual answer counts as no
answer: the caller repeats the request with docker-py, which reports the error.
"""

from __future__ import annotations

import json

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["ABSENT", "get", "knock", "ping"]

ABSENT = "absent"
"""What `get` returns if the engine answers 404."""
_TIMEOUT_S = 60.0
_PING_TIMEOUT_S = 10.0
_BLOCK = 1 << 16
_MOST = 64 << 20
"""Bytes of an answer; a larger one counts as no answer."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:@._-~")


def get(socket_path: str, path: str) -> dict[str, Any] | str | None:
    """GET `path`, such as `/images/NAME/json`: returns the JSON object, ABSENT, or None for no answer.

    The API version is 1.41, that of Docker 20.10. An engine that only has newer ones gives no answer.
    """
    if not socket_path or not _PLAIN.issuperset(path):
        return None
    head, body = _asked(socket_path, f"/v1.41{path}")
    status = head.split(b" ")[1:2]
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None  # the answer was cut off
    if not isinstance(value, dict):
        return None
    if status == [b"404"]:
        return ABSENT
    return value if status == [b"200"] else None


def ping(socket_path: str) -> str:
    """The newest API version that the engine has, such as `1.41`; "" for no answer.

    Any other request takes longer: for `/version`, an engine starts programs.
    """
    head, _ = _asked(socket_path, "/_ping", _PING_TIMEOUT_S) if socket_path else (b"", b"")
    lines = head.split(b"\r\n")
    if lines[0].split(b" ")[1:2] != [b"200"]:
        return ""
    fields = dict(line.lower().partition(b":")[::2] for line in lines[1:])
    version = fields.get(b"api-version", b"").strip().decode("ascii", "replace")
    return version if all(part.isdecimal() for part in version.split(".")) else ""


def _asked(socket_path: str, path: str, timeout: float = _TIMEOUT_S) -> tuple[bytes, bytes]:
    """The head and the body of the answer, as far as it came."""
    import socket

    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(timeout)
            connected.connect(socket_path)
            connected.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            while part := connected.recv(_BLOCK):
                data += part
                if len(data) > _MOST:
                    return b"", b""
    except OSError:
        return b"", b""
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    return head, body


def knock(socket_path: str) -> None:
    """Connect once and disconnect. Raises OSError if nothing listens, or without permission."""
    import socket

    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(_TIMEOUT_S)
        connected.connect(socket_path)
