"""Requests to a Docker engine over its socket.

"Is it there?" must cost one small request, about 2 ms. docker-py, which costs thirty times that to import,
is therefore not used here. The interface is https://docs.docker.com/reference/api/engine/.
Its errors are drawn in `amlexec.docker.transport`.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from amlexec.docker.settings import Endpoint, endpoint
from amlexec.docker.transport import (
    LOOK,
    EngineAbsentError,
    EngineAnswerError,
    EngineDeniedError,
    EngineError,
    EngineLostError,
    EngineTimeoutError,
    Stream,
    connect,
    named,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from http.client import HTTPConnection, HTTPResponse
    from socket import socket
    from typing import IO, TypeAlias

    from amlexec.docker.transport import Way

    Body: TypeAlias = Mapping[str, Any] | bytes | IO[bytes] | Iterable[bytes]

__all__ = [
    "Engine",
    "EngineAbsentError",
    "EngineAnswerError",
    "EngineDeniedError",
    "EngineError",
    "EngineLostError",
    "EngineTimeoutError",
    "Stream",
    "from_environment",
]

_API = (1, 41)
"""The interface we speak, where the engine does: the newest of Docker 20.10, Debian 12's engine."""
_TIMEOUT = 60.0
_PIECE = 1 << 16
_CUT_SHORT = "the Docker engine ended in the middle of an answer"


class Engine:
    """A Docker engine at an address. Every request has its own connection: threads may share an engine."""

    def __init__(self, address: str | Endpoint | Way) -> None:
        """`address` is `unix://PATH`, `tcp://HOST:PORT`, an `Endpoint` or a `Way`; nothing is asked yet.

        Raises:
            EngineError: an address of another kind.
        """
        place = Endpoint(address) if isinstance(address, str) else address
        self._place = place
        self.address = place.address
        self._host = self._host_of(place) if isinstance(place, Endpoint) else "localhost"
        self._api: tuple[int, ...] = _API
        self._agreed = False

    def _host_of(self, endpoint: Endpoint) -> str:
        kind, _, place = endpoint.address.partition("://")
        host = "localhost" if kind == "unix" else _host(endpoint.address)
        if not place or not host or kind not in ("unix", *_NETWORK):
            raise EngineError(
                f"a Docker engine can't be reached at {self.address!r} from here",
                hint="use unix:///PATH/TO/docker.sock or tcp://HOST:PORT in DOCKER_HOST or the context; "
                "an engine on another machine is a compute target of type remotedocker",
            )
        return host

    def _connect(self, timeout: float | None) -> socket:
        place = self._place
        return connect(place, timeout) if isinstance(place, Endpoint) else place.connect(timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = _TIMEOUT,
    ) -> Any:
        """Ask, and read the whole answer: JSON's value, bytes where it is not JSON, None where it is empty.

        `timeout` is how many seconds the engine may be silent, None for ever. A mapping as `body` travels as
        JSON. In `query`, None is left out, true and false are 1 and 0, mappings and lists travel as JSON.

        Raises:
            EngineError: the tree in `amlexec.docker.transport`.
        """
        with self.stream(method, path, query=query, body=body, headers=headers, timeout=timeout) as stream:
            data = stream.read()
            if not stream.is_bounded:  # its head was cut short: the engine always gives a length, or chunks
                raise EngineLostError(_CUT_SHORT, hint=LOOK, where=self.address)
            is_json = stream.header("Content-Type").startswith("application/json")
        if not data or not is_json:
            return data or None
        return self._value(data)

    def glance(self, path: str, *, query: Mapping[str, Any] | None = None) -> Any:
        """Ask a small question: `request("GET", path, query=query)`, for half of what a no-op can cost.

        http.client takes 8 ms to import, most of it for mail and TLS. An answer that is anything but plain is
        asked for again by way of it.
        """
        question = f"GET {self._prefix()}{_quoted(path)}{_query(query)} HTTP/1.0\r\n\r\n"
        data = b""
        with self._connect(_TIMEOUT) as connected, contextlib.suppress(OSError):
            connected.sendall(question.encode())
            data = b"".join(iter(lambda: connected.recv(_PIECE), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        if head.split(b" ")[1:2] == [b"200"]:
            # JSON that was cut short is no JSON.
            with contextlib.suppress(ValueError):
                return json.loads(body)
        return self.request("GET", path, query=query)

    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = _TIMEOUT,
    ) -> Stream:
        """Ask, and read the answer while it comes. Parameters and errors are those of `request`."""
        told = f"{_quoted(path)}{_query(query)}"
        if not self._agreed and body is not None and not isinstance(body, (dict, bytes)):
            self._agree()  # what can be sent only once must not be answered with "your version is too old"
        try:
            return self._ask(method, self._prefix() + told, body, headers, timeout)
        except EngineAnswerError as error:
            if self._agreed or error.status != 400 or "client version" not in error.reason:
                raise
        self._agree()
        return self._ask(method, self._prefix() + told, body, headers, timeout)

    def messages(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The JSON messages of a pull, push, build or load, as they come. Parameters are those of `request`.

        Raises:
            EngineAnswerError: also for an error that stands among the messages.
            EngineError: as `request`.
        """
        with self.stream(method, path, query=query, body=body, headers=headers, timeout=timeout) as stream:
            for line in stream.lines():
                if not line.strip():
                    continue
                message = self._value(line)
                if reason := message.get("error") or message.get("errorDetail", {}).get("message"):
                    raise EngineAnswerError(str(reason), status=200, where=self.address)
                yield message

    def info(self) -> dict[str, Any]:
        """What the engine says of itself and its machine, as `docker info`."""
        return dict(self.request("GET", "/info"))

    def version(self) -> dict[str, Any]:
        """The engine's version, its interfaces, operating system and architecture, as `docker version`."""
        with self._ask("GET", "/version", None, None, _TIMEOUT) as stream:
            return dict(self._value(stream.read()))

    def ping(self, timeout: float = 10.0) -> None:
        """Return where the engine answers; else raise why not (EngineError)."""
        with self._ask("GET", "/_ping", None, None, timeout) as stream:
            stream.read()

    def _prefix(self) -> str:
        return f"/v{self._api[0]}.{self._api[1]}"

    def _agree(self) -> None:
        """Find the interface nearest to ours that the engine speaks. Docker 29 has none below 1.44."""
        told = self.version()
        newest, oldest = (_numbers(told.get(key)) for key in ("ApiVersion", "MinAPIVersion"))
        self._api = max(min(_API, newest or _API), oldest)
        self._agreed = True

    def _value(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            raise EngineLostError(_CUT_SHORT, hint=LOOK, where=self.address) from None

    def _ask(
        self,
        method: str,
        target: str,
        body: Body | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Stream:
        try:
            return self._asked(method, target, body, headers, timeout)
        except EngineLostError:
            if isinstance(self._place, Endpoint):
                raise
            self._place.find_again()
            if method != "GET":
                raise  # it may have been heard
            place = self._place
        try:
            return self._asked(method, target, body, headers, timeout)
        except EngineLostError:
            raise place.mute() from None

    def _asked(
        self,
        method: str,
        target: str,
        body: Body | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Stream:
        from http.client import HTTPConnection

        fields = {"Connection": "close", **(headers or {})}
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            fields["Content-Type"] = "application/json"
        connected = self._connect(timeout)
        try:
            with named(self.address):
                connection = HTTPConnection(self._host)
                connection.sock = connected
                response = _exchange(connection, method, target, body, fields)
                reason = _reason(response) if response.status >= 400 else ""
        except BaseException:
            connected.close()
            raise
        stream = Stream(self.address, response, connected)
        if reason:
            stream.close()
            raise EngineAnswerError(reason, status=response.status, where=self.address)
        return stream


_NETWORK = ("tcp", "http", "https")
_PUNCTUATION = str.maketrans("", "", "/:@._-~")


def from_environment(environment: Mapping[str, str] | None = None) -> Engine:
    """The engine that the `docker` command would ask (DOCKER_HOST, context, usual sockets).

    Raises:
        TargetError: Docker's settings can't be read, or name a context or an address that is of no use.
    """
    return Engine(endpoint(environment))


def _exchange(
    connection: HTTPConnection, method: str, target: str, body: Any, fields: dict[str, str]
) -> HTTPResponse:
    try:
        connection.request(method, target, body, fields)
    except (BrokenPipeError, ConnectionResetError):
        # Refused before it had read everything, as for a container that is not there: the answer says why.
        return connection.getresponse()
    return connection.getresponse()


def _query(query: Mapping[str, Any] | None) -> str:
    pairs = []
    for name, value in (query or {}).items():
        if value is None:
            continue
        plain = int(value) if isinstance(value, bool) else value
        pairs.append((name, json.dumps(plain) if isinstance(plain, (dict, list, tuple)) else str(plain)))
    if not pairs:
        return ""
    from urllib.parse import urlencode

    return f"?{urlencode(pairs)}"


def _quoted(path: str) -> str:
    if {".", ".."} & {*path.split("/")}:
        # What a name becomes a part of stays what it is: nothing else of the engine is asked.
        raise EngineError(f"{path!r} leads elsewhere: a name in it is no name")
    if path.isascii() and path.translate(_PUNCTUATION).isalnum():
        return path
    from urllib.parse import quote  # 2 ms, and names of images seldom need it

    return quote(path, safe="/:@")


def _host(address: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(address).hostname or ""


def _reason(response: HTTPResponse) -> str:
    data = response.read()
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip() or f"{response.status} {response.reason}"


def _numbers(version: object) -> tuple[int, ...]:
    """`1.41` as (1, 41); () of anything else."""
    parts = str(version).split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()
