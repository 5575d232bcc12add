"""A wire to a machine that can be cut, jammed and made long, to the byte: a TCP relay on the loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.hosts import Client, Host

__all__ = ["DOWN", "UP", "Wire", "new_wire"]

UP, DOWN = 0, 1
"""To the machine, and from it."""
_BLOCK = 1 << 16


class Wire:
    """What goes through `address` comes to a host, as long as the wire is whole."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.passed = [0, 0]
        """Bytes that have gone up and down since the last `mend`."""
        self.spent = threading.Event()
        """Set when a limit was reached."""
        self.delay = 0.0
        """Seconds that everything takes in each direction."""
        self._limits: list[int | None] = [None, None]
        self._cuts = True
        self._is_cut = False
        self._whole = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """`host:port`, as a `.compute` file has it."""
        return f"127.0.0.1:{self.port}"

    def cut_after(self, count: int, direction: int) -> None:
        """After so many bytes it breaks, in the middle of whatever goes through it."""
        self.mend()
        self._limits[direction], self._cuts = count, True

    def jam_after(self, count: int, direction: int) -> None:
        """After so many bytes nothing gets through in that direction, and the connection stands."""
        self.mend()
        self._limits[direction], self._cuts = count, False

    def cut(self) -> None:
        """Break it, and all that goes through it."""
        with self._lock:
            self._is_cut = True
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Make it whole again, for connections to come."""
        self.cut()
        self._whole.set()
        with self._lock:
            self._whole = threading.Event()
            self._limits, self.passed, self._is_cut = [None, None], [0, 0], False
        self.spent.clear()

    def close(self) -> None:
        """Take it away."""
        self._server.close()
        self.mend()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.host.port))
                with self._lock:
                    self._open |= {near, far}
                for ends in ((near, far, UP), (far, near, DOWN)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, direction: int) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(_BLOCK):
                if self.delay:
                    time.sleep(self.delay)
                limit, whole = self._limits[direction], self._whole
                room = len(part) if limit is None else limit - self.passed[direction]
                sink.sendall(part[:room])
                self.passed[direction] += len(part[:room])
                if room < len(part):
                    self.spent.set()
                    if self._cuts:
                        self.cut()
                    whole.wait()
                    break
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            with self._lock:
                self._open.discard(each)


@pytest.fixture
def new_wire(client: Client) -> Iterator[Callable[[Host], Wire]]:
    """Lay a wire to a host, under an address whose host key the client knows."""
    with contextlib.ExitStack() as laid:

        def lay(host: Host) -> Wire:
            wire = Wire(host)
            laid.callback(wire.close)
            with client.known_hosts.open("a") as file:
                file.write(f"[127.0.0.1]:{wire.port} {host.host_key}\n")
            return wire

        yield lay
