"""docker-py's client over our transports. The only module that imports docker-py at its own import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import docker
import requests
from docker.transport import UnixHTTPAdapter

from amlexec.docker.probe import knock

if TYPE_CHECKING:
    from amlexec.docker.transport import Transport

__all__ = ["client_of"]


class _Client(docker.APIClient):  # type: ignore[misc] # docker-py has no types
    """docker-py's client without this machine's proxies and `.netrc`."""

    def __init__(self, transport: Transport | None = None, **settings: Any) -> None:
        self._transport = transport
        super().__init__(**settings)

    @property
    def trust_env(self) -> bool:
        """False: an engine is reached without a proxy."""
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        """Ignored: requests sets it in its constructor."""

    def mount(self, prefix: str, adapter: Any) -> None:
        """Use an adapter for addresses with that prefix; for a Unix socket, ours."""
        # One connection per request: a reused one may be dead.
        self.headers["Connection"] = "close"
        if isinstance(adapter, UnixHTTPAdapter):
            adapter = _SocketAdapter(adapter.socket_path, adapter.timeout, self._transport)
        super().mount(prefix, adapter)


class _SocketAdapter(UnixHTTPAdapter):  # type: ignore[misc] # likewise
    """Requests through a Unix socket. A socket forwarded to another machine is forwarded again if needed."""

    def __init__(self, path: str, timeout: float | None, transport: Transport | None) -> None:
        super().__init__(f"http+unix://{path}", timeout)
        self._transport = transport

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> Any:
        """Send a request; to another machine's engine a second time, if the first can't have had an effect.

        Raises:
            OSError: nothing listens on the socket, or there is no permission to use it.
        """
        try:
            # Try the socket first: requests would wrap the reason three times, and docker-py leave it open.
            knock(self.socket_path)
        except OSError:
            if self._transport is None:
                raise
            self._transport.find_again(is_mute=False)
        try:
            return super().send(request, *arguments, **options)
        except requests.ConnectionError:
            if self._transport is None:
                raise
            self._transport.find_again(is_mute=True)
            if request.method != "GET":
                raise  # the engine may have executed it
        try:
            return super().send(request, *arguments, **options)
        except requests.ConnectionError:
            raise self._transport.mute() from None


def client_of(
    address: str,
    transport: Transport | None,
    timeout: float | None,
    version: str,
    *,
    from_settings: bool = False,
) -> docker.APIClient:
    """A client of the engine at `address`; with `from_settings`, with the certificates of Docker's settings.

    `timeout` is how many seconds the engine may be silent; None for no limit. `version` is that of its API;
    "" lets docker-py ask, which an engine takes long to answer. Raises as docker-py does.
    """
    settings: dict[str, Any] = {"base_url": address, "version": version or "auto"}
    if from_settings:
        found = docker.utils.kwargs_from_env()
        if not os.environ.get("DOCKER_HOST"):
            found |= docker.context.ContextAPI.kwargs_from_context()
        settings |= found
    return _Client(transport, timeout=timeout, **settings)
