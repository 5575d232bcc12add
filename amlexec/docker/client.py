"""A Docker engine: docker-py's client, created for requests that the probe can't answer.

docker-py takes 50 ms to import, more with paramiko installed. Existence checks use `amlexec.docker.probe`;
callers that will need docker-py import it in the background (`import_ahead`). The errors are in
`amlexec.docker.errors`. API: https://docs.docker.com/reference/api/engine/.
"""

from __future__ import annotations

import contextlib
import threading

from amlexec.docker import probe
from amlexec.docker.address import engine_address, settings_file
from amlexec.docker.errors import EngineError, named
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from docker import APIClient

    from amlexec.docker.features import Features
    from amlexec.docker.transport import Transport

__all__ = ["Engine", "from_environment", "import_ahead"]

_TIMEOUT_S = 60.0
_NETWORK = ("tcp", "http", "https")


class Engine:
    """A Docker engine at an address. Thread-safe."""

    def __init__(self, address: str | Transport, *, from_settings: bool = False) -> None:
        """`address` is `unix://PATH`, `tcp://HOST:PORT` or a `Transport`. No I/O.

        With `from_settings`, the address is DOCKER_HOST's or the context's, and its certificates are used.

        Raises:
            EngineError: an address of another form.
        """
        self._transport = None if isinstance(address, str) else address
        self.address = address if isinstance(address, str) else address.address
        self._from_settings = from_settings
        self._clients: dict[float | None, APIClient] = {}
        self._lock = threading.Lock()
        self._features: Features | None = None
        self._version = ""
        """Of its API; "" for unknown."""
        self._looking: threading.Thread | None = None
        if self._transport is None:
            self._must_be_reachable()

    def _must_be_reachable(self) -> None:
        kind, _, place = self.address.partition("://")
        if not place.strip("/") or kind not in ("unix", *_NETWORK):
            raise EngineError(
                f"{self.address!r} is not an address of a Docker engine that amlexec can use",
                hint="use unix:///PATH/TO/docker.sock or tcp://HOST:PORT in DOCKER_HOST or the context; "
                "an engine on another machine is a compute target of type remotedocker",
            )

    @property
    def socket(self) -> str:
        """The local path of the engine's socket; "" for a network address."""
        if self._transport is not None:
            return self._transport.socket
        return self.address.removeprefix("unix://") if self.address.startswith("unix://") else ""

    def look(self, path: str) -> dict[str, Any] | str | None:
        """One GET request without docker-py; see `probe.get`."""
        return probe.get(self.socket, path)

    @contextlib.contextmanager
    def asked(self, *, patient: bool = False) -> Iterator[APIClient]:
        """docker-py's client; within the block, its errors are raised as ours.

        The engine may be silent for a minute; with `patient`, without limit.

        Raises:
            EngineError: the tree in `amlexec.docker.errors`.
        """
        with named(self.address):
            yield self._client(None if patient else _TIMEOUT_S)

    def info(self) -> dict[str, Any]:
        """The engine's and its machine's properties, as `docker info`."""
        with self.asked() as api:
            return dict(api.info())

    @property
    def features(self) -> Features:
        """What runs in it depend on; asked for once, with nothing imported."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.join()
        if self._features is None:
            from amlexec.docker.features import from_info

            # Without an answer just now, docker-py asks, and says why there is none.
            plain = self.look("/info") if looking is None else None
            self._features = from_info(plain if isinstance(plain, dict) else self.info())
        return self._features

    def look_ahead(self) -> None:
        """Ask for its features in a thread: an engine takes long to answer, since it starts programs."""
        self._looking = threading.Thread(target=self._look_ahead, daemon=True)
        self._looking.start()

    def _look_ahead(self) -> None:
        from amlexec.docker.features import from_info

        # If it fails, it is asked again where the answer is needed, and that error is shown.
        with contextlib.suppress(Exception):
            plain = self.look("/info")
            if isinstance(plain, dict):
                self._features = from_info(plain)

    @property
    def platform(self) -> tuple[str, str]:
        """The operating system and the processor that containers run on, with nothing imported."""
        plain = self.look("/version")
        told = plain if isinstance(plain, dict) else self.version()
        return str(told.get("Os", "")), str(told.get("Arch", ""))

    def version(self) -> dict[str, Any]:
        """The engine's version, API versions, operating system and architecture, as `docker version`."""
        with self.asked() as api:
            return dict(api.version(api_version=False))

    def _client(self, timeout: float | None) -> APIClient:
        with self._lock:
            if timeout not in self._clients:
                self._clients[timeout] = self._made(timeout)
            return self._clients[timeout]

    def _made(self, timeout: float | None) -> APIClient:
        from docker.errors import InvalidConfigFile

        from amlexec.docker.adapter import client_of

        address = f"unix://{self._transport.socket}" if self._transport is not None else self.address
        version = self._version or probe.ping(self.socket)
        try:
            made = client_of(address, self._transport, timeout, version, from_settings=self._from_settings)
        except (InvalidConfigFile, ValueError) as error:
            # Without the error's text: it may contain a login.
            raise TargetError(
                f"Docker's settings can't be read: a login in them is damaged ({type(error).__name__})",
                where=settings_file(),
                hint="run `docker login` again, or remove the entry",
            ) from None
        self._version = str(made.api_version)
        return made


def from_environment(environment: Mapping[str, str] | None = None) -> Engine:
    """The engine that the `docker` command would use (DOCKER_HOST, context, usual sockets).

    Raises:
        TargetError: Docker's settings can't be read, or name an unknown context or an unusable address.
    """
    address, from_settings = engine_address(environment)
    return Engine(address, from_settings=from_settings and environment is None)


def import_ahead() -> None:
    """Import docker-py in a thread, while the caller waits for something else."""
    threading.Thread(target=_import, daemon=True).start()


def _import() -> None:
    from importlib import import_module

    # If it fails, it fails again where docker-py is needed, and that error is shown.
    with contextlib.suppress(Exception):
        import_module("amlexec.docker.adapter")
