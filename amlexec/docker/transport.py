"""How an engine on another machine is reached; `amlexec.docker.forward` has the way through SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from amlexec.docker.errors import EngineError

__all__ = ["Transport"]


class Transport(Protocol):
    """How an engine is reached whose socket is on another machine: by a socket here that leads there."""

    @property
    def address(self) -> str:
        """What messages and locks call the engine."""

    @property
    def socket(self) -> str:
        """The path of the socket here. Whether it is there yet shows when it is used."""

    def find_again(self, *, is_mute: bool) -> None:
        """After the socket led nowhere: return when it leads to the engine again.

        With `is_mute` somebody had taken the connection, and ended it without a word.

        Raises:
            TargetError: it can't, and why.
        """

    def mute(self) -> EngineError:
        """The error where the socket leads to the machine, and no engine answers there."""
