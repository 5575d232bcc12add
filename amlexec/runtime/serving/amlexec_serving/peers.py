"""The replicas of a service tell each other their counters, over Unix sockets beside the listener's.

So each of them answers `/metrics` for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import Any, Callable

__all__ = ["Peers"]

_END = ".peer"
_LONGEST = 1 << 20
"""Bytes of the counters of a replica."""
_TIMEOUT_S = 2.0


class Peers:
    """This replica and the others that share its folder; all of it runs on the server's loop."""

    def __init__(self, folder: str, counters: Callable[[], Any]) -> None:
        self._folder = folder
        self._counters = counters
        self._name = "{}-{}{}".format(socket.gethostname(), os.getpid(), _END)
        self._server: Any = None

    async def open(self) -> None:
        """Answer the others. Raises OSError."""
        path = os.path.join(self._folder, self._name)
        opened = socket.socket(socket.AF_UNIX)
        try:
            # Replicas remove a socket at which nobody listens. So this one gets its name last.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ".new")
            opened.bind(path + ".new")
            opened.listen(16)
            os.rename(path + ".new", path)
        except OSError:
            opened.close()
            raise
        self._server = await asyncio.start_unix_server(self._tell, sock=opened)

    async def _tell(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(json.dumps(self._counters()).encode())
            await writer.drain()
        writer.close()

    async def all(self) -> list[Any]:
        """The counters of this replica, and of the others that answer."""
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.endswith(_END))
        except OSError:
            names = []
        asked = [self._asked(os.path.join(self._folder, name)) for name in names if name != self._name]
        found = await asyncio.gather(*asked)
        return [self._counters(), *(one for one in found if one is not None)]

    async def _asked(self, path: str) -> Any:
        try:
            return await asyncio.wait_for(_read(path), _TIMEOUT_S)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)  # of a replica that has ended
        except (OSError, ValueError, asyncio.TimeoutError):
            return None
        return None


async def _read(path: str) -> Any:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        data = await reader.read(_LONGEST)
        while data and (more := await reader.read(_LONGEST)):
            data += more
            if len(data) > _LONGEST:
                raise ValueError
        return json.loads(data)
    finally:
        writer.close()
