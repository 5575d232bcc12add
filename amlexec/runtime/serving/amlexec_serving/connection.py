"""Connections that send the head and the body of an answer at once: one system call less for each."""

from __future__ import annotations

from typing import Any

__all__ = ["Joined", "protocol_class"]

_LARGE = 1 << 16
"""Bytes of a body that is not copied to join it with its head."""


class Joined:
    """A transport that keeps what is written while `holds` is set, and sends it with what comes next."""

    __slots__ = ("_kept", "_transport", "_write", "holds")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._write = transport.write
        self._kept = b""
        self.holds = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: Any) -> None:
        """Send data, or keep it."""
        if self.holds:
            self._kept += data
            return
        if self._kept:
            if len(data) < _LARGE:
                data = self._kept + data
            else:
                self._write(self._kept)
            self._kept = b""
        self._write(data)

    def flush(self) -> None:
        """Send what is kept, if nothing came next."""
        self.holds = False
        if self._kept:
            self.write(b"")

    def close(self) -> None:
        """Send what is kept, and close."""
        self.flush()
        self._transport.close()


def protocol_class() -> Any:
    """uvicorn's own protocol, whose requests have their connection as `amlexec` in `scope["state"]`."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    base: Any = AutoHTTPProtocol

    class Protocol(base):  # type: ignore[misc]
        app_state: Any

        def connection_made(self, transport: Any) -> None:
            joined = Joined(transport)
            self.app_state = {**self.app_state, "amlexec": joined}
            super().connection_made(joined)

    return Protocol
