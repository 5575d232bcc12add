"""docker-py's client on our ways to an engine. The one module that imports docker-py when it is imported."""

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
    """docker-py's client, of which neither proxies nor `.netrc` of this machine make another one."""

    def __init__(self, transport: Transport | None = None, **settings: Any) -> None:
        self._transport = transport
        # The engine's interface is agreed on by the first request, which goes the way of all others.
        super().__init__(version="auto", **settings)

    @property
    def trust_env(self) -> bool:
        """False: no proxy stands before an engine."""
        return False

    @trust_env.setter
    def trust_env(self, value: bool) -> None:
        """requests sets it for itself."""

    def mount(self, prefix: str, adapter: Any) -> None:
        """Use an adapter for addresses that begin so: ours, for a Unix socket."""
        # One connection for each request: one that was kept may lead nowhere by now.
        self.headers["Connection"] = "close"
        if isinstance(adapter, UnixHTTPAdapter):
            adapter = _SocketAdapter(adapter.socket_path, adapter.timeout, self._transport)
        super().mount(prefix, adapter)


class _SocketAdapter(UnixHTTPAdapter):  # type: ignore[misc] # likewise
    """Requests through a Unix socket. One that leads to another machine is forwarded again where need be."""

    def __init__(self, path: str, timeout: float | None, transport: Transport | None) -> None:
        super().__init__(f"http+unix://{path}", timeout)
        self._transport = transport

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> Any:
        """Send a request; on another machine's engine twice, where nothing can have come of the first time.

        Raises:
            OSError: nobody listens at the socket, or we may not use it.
        """
        try:
            # requests would wrap the reason three times, and docker-py leave the socket open.
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
                raise  # it may have been heard
        try:
            return super().send(request, *arguments, **options)
        except requests.ConnectionError:
            raise self._transport.mute() from None


def client_of(
    address: str, transport: Transport | None, timeout: float | None, *, from_settings: bool = False
) -> docker.APIClient:
    """A client of the engine at `address`; with `from_settings`, with the certificates that go with it.

    `timeout` is how many seconds the engine may be silent, None for ever. Raises as docker-py does.
    """
    settings: dict[str, Any] = {"base_url": address}
    if from_settings:
        found = docker.utils.kwargs_from_env()
        if not os.environ.get("DOCKER_HOST"):
            found |= docker.context.ContextAPI.kwargs_from_context()
        settings |= found
    return _Client(transport, timeout=timeout, **settings)
