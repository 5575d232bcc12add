"""How an engine on another machine is reached; `amlexec.docker.forward` implements it over SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amlexec.docker.errors import EngineError

__all__ = ["Transport"]


class Transport(Protocol):
    """A local socket that is forwarded to an engine's socket on another machine."""

    @property
    def address(self) -> str:
        """The engine's name in messages and locks."""

    @property
    def socket(self) -> str:
        """The path of the local socket. It may not exist yet."""

    def find_again(self, *, is_mute: bool) -> None:
        """Forward the socket again after it failed; return when it works.

        With `is_mute`, a connection was accepted and then closed without an answer.

        Raises:
            TargetError: it can't be forwarded, and why.
        """

    def mute(self) -> EngineError:
        """The error for a socket that is forwarded, but no engine answers."""
