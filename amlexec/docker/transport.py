"""A connection to a Docker engine, what is read from it, and the names of what can go wrong with it.

::

    TargetError
    └── EngineError
        ├── EngineAbsentError       nothing listens: no engine, or it is not running
        ├── EngineDeniedError       we may not use its socket
        ├── EngineLostError         it ended, or hung up, in the middle of an answer
        ├── EngineTimeoutError      it has been silent for too long
        └── EngineAnswerError       it answered, and refused: its own words and HTTP status
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Protocol

from amlexec.errors import NoContactError, TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

    from typing_extensions import Self

    from amlexec.docker.settings import Endpoint

__all__ = [
    "LOOK",
    "EngineAbsentError",
    "EngineAnswerError",
    "EngineDeniedError",
    "EngineError",
    "EngineLostError",
    "EngineTimeoutError",
    "Stream",
    "Way",
    "connect",
    "connect_local",
    "named",
]

_PIECE = 1 << 16
LOOK = "look whether the engine is still running: `docker info`"


class EngineError(TargetError):
    """A Docker engine could not do its part."""


class EngineAbsentError(EngineError, NoContactError):
    """Nothing listens at the engine's address."""


class EngineDeniedError(EngineError, NoContactError):
    """We have no permission on the engine's socket."""


class EngineLostError(EngineError, NoContactError):
    """The engine ended, or closed the connection, before its answer was complete."""


class EngineTimeoutError(EngineError, NoContactError):
    """The engine has said nothing for longer than it was given."""


class EngineAnswerError(EngineError):
    """The engine refused. `reason` is what it said; `status` is HTTP's, 200 for an error in a stream."""

    def __init__(self, reason: str, *, status: int, hint: str = "", where: str = "") -> None:
        super().__init__(f"the Docker engine says: {reason.strip().rstrip('.')}", hint=hint, where=where)
        self.reason = reason
        self.status = status


class Way(Protocol):
    """How an engine is reached that has no address which can be connected to from here."""

    @property
    def address(self) -> str:
        """What messages and locks call the engine."""

    def connect(self, timeout: float | None) -> socket.socket:
        """A connection to the engine, as of `connect`. Raises TargetError also for what is on the way."""

    def find_again(self) -> None:
        """After a connection that ended without a word: return where there is a way again.

        Raises:
            TargetError: there is none, and why.
        """

    def mute(self) -> EngineError:
        """The error where there is a way, and nobody answers at its end."""


class Stream:
    """An answer that is read while it comes. `close` may be called from another thread: reading then ends."""

    def __init__(self, address: str, response: HTTPResponse, connected: socket.socket) -> None:
        self._address = address
        self._response = response
        self._socket = connected
        self.closed = False
        self.is_bounded = bool(response.chunked) or response.length is not None
        """Whether the answer says where it ends, so that an end before it is noticed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def header(self, name: str) -> str:
        """A header of the answer, or ""."""
        return self._response.headers.get(name) or ""

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end; all that is left without `size`.

        Raises:
            EngineLostError: the engine ended in the middle.
            EngineTimeoutError: it has been silent for longer than the request allows.
        """
        with self._reading():
            return self._response.read(None if size < 0 else size)
        return b""

    def lines(self) -> Iterator[bytes]:
        """The answer by lines, each as soon as it is there. Raises as `read` does."""
        while True:
            line = b""
            with self._reading():
                line = self._response.readline()
            if not line:
                return
            yield line

    def pieces(self) -> Iterator[bytes]:
        """The answer in pieces of any size, each as soon as it is there. Raises as `read` does."""
        with self._reading():  # once, and not for each piece: there may be a million
            while piece := self._response.read1(_PIECE):
                yield piece

    def give(self, data: bytes) -> None:
        """Send the input of what the answer is the output of, and its end.

        Raises:
            EngineLostError: the engine ended meanwhile.
        """
        with named(self._address):
            self._socket.sendall(data)
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Hang up."""
        self.closed = True
        # A reader in another thread is woken by this; closing alone would leave it waiting.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with named(self._address):
                yield
        except EngineLostError:
            if not self.closed:
                raise


def connect(place: Endpoint, timeout: float | None) -> socket.socket:
    """A connection to the engine; silence of `timeout` seconds on it is a TimeoutError, None waits for ever.

    Raises:
        EngineAbsentError, EngineDeniedError: what they say.
    """
    try:
        if place.address.startswith("unix://"):
            return connect_local(place.address.removeprefix("unix://"), timeout)
        from urllib.parse import urlsplit

        parts = urlsplit(place.address)
        port = parts.port or (2376 if place.certificates else 2375)
        connected = socket.create_connection((parts.hostname or "", port), timeout)
        if place.certificates or parts.scheme == "https":
            return _secured(connected, place, parts.hostname)
    except PermissionError:
        raise EngineDeniedError(
            "no permission to use the Docker engine's socket",
            hint="join the group that owns it (usually `sudo usermod -aG docker $USER`) and log in again",
            where=place.address,
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise EngineAbsentError(
            f"no Docker engine answers: {reason}", hint=_how_to_start(), where=place.address
        ) from None
    return connected


def connect_local(path: str, timeout: float | None) -> socket.socket:
    """A connection to a Unix socket here. Raises OSError."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(timeout)
        connected.connect(path)
    except BaseException:
        connected.close()
        raise
    return connected


@contextlib.contextmanager
def named(address: str) -> Iterator[None]:
    """Give what goes wrong on a connection its name, an EngineError."""
    from http.client import HTTPException

    try:
        yield
    except TimeoutError:
        raise EngineTimeoutError(
            "the Docker engine has not answered in time",
            hint="look whether it is busy or hangs: `docker info`",
            where=address,
        ) from None
    except (HTTPException, OSError, ValueError) as error:  # ValueError: of a file that another thread closed
        said = getattr(error, "strerror", None) or type(error).__name__
        raise EngineLostError(
            f"the connection to the Docker engine broke: {said}", hint=LOOK, where=address
        ) from None


def _secured(connected: socket.socket, settings: Endpoint, host: str | None) -> socket.socket:
    import ssl
    from pathlib import Path

    folder = Path(settings.certificates)
    context = ssl.create_default_context()
    if settings.certificates and (folder / "ca.pem").exists():
        context.load_verify_locations(folder / "ca.pem")
    if settings.certificates and (folder / "cert.pem").exists():
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    if not settings.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return context.wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise


def _how_to_start() -> str:
    import shutil
    import sys

    if sys.platform == "darwin":
        return "start Docker Desktop or Colima, or set DOCKER_HOST to the engine's address"
    if shutil.which("dockerd"):
        return "start it with `sudo systemctl start docker`, or set DOCKER_HOST to the engine's address"
    return "install a Docker engine (Debian: `sudo apt install docker.io`), or set DOCKER_HOST to its address"
