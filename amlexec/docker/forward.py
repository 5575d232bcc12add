"""A Docker engine on another machine, reached through a socket that our one SSH connection forwards.

The connection is opened by the first request. What it forwards stays for as long as it does, for all
processes of the user: a second command asks the engine at once. No `docker` has to be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker.errors import EngineAbsentError, EngineDeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.docker.errors import EngineError
    from amlexec.ssh.connection import SSHConnection

__all__ = ["Surroundings", "SSHTransport", "found_in"]

_NAME = "docker"
"""Of the forwarded socket."""
_LOOK_TIMEOUT_S = 60.0
"""Seconds."""


class Surroundings(NamedTuple):
    """The user on the engine's machine, and the engine's socket."""

    home: str
    uid: int
    gid: int
    user: str
    socket: str


class SSHTransport:
    """A `Transport` to the engine that the user of a connection has there."""

    def __init__(self, connection: SSHConnection, told: dict[str, str] | None = None) -> None:
        """Nobody is asked yet. `told` is what `engine.sh` has said on that machine a moment ago."""
        self._connection = connection
        self._told = told
        self._found: Surroundings | None = None

    @property
    def address(self) -> str:
        """See `Transport.address`."""
        return self._connection.address

    @property
    def surroundings(self) -> Surroundings:
        """Who the user is there, asked for once. Raises as `find_again` does."""
        if self._found is None:
            self._found = self._look(is_mute=False)
        return self._found

    @property
    def socket(self) -> str:
        """See `Transport.socket`."""
        return self._connection.lasting_socket(_NAME)

    def find_again(self, *, is_mute: bool) -> None:
        """See `Transport.find_again`. The engine may be gone, or listen elsewhere; or contact was lost.

        Raises:
            UnreachableError, LoginError, HostKeyError: there is no way to the machine.
            EngineAbsentError: the machine is there, and no engine.
            EngineDeniedError: the user may not use its socket.
        """
        found = self._look(is_mute=is_mute)
        self._connection.forward_lasting(_NAME, found.socket)
        self._found = found

    def mute(self) -> EngineError:
        """See `Transport.mute`."""
        there = self._found.socket if self._found else ""
        return EngineAbsentError(
            f"the machine is there, and nobody answers at its Docker engine's socket {there}",
            where=self._connection.name,
            hint="look there whether the engine runs (`docker info`), and whether sshd may forward sockets: "
            "AllowStreamLocalForwarding yes, no DisableForwarding, no `restrict` in authorized_keys",
        )

    def _look(self, *, is_mute: bool) -> Surroundings:
        """Find the socket. With `is_mute`, a connection to it has just ended without a word."""
        told, self._told = self._told, None
        if told is None:
            from amlexec.runtime import HERE

            script = (HERE / "engine.sh").read_text("utf-8")
            answer = self._connection.run(script, timeout=_LOOK_TIMEOUT_S)
            told = dict(line.partition(" ")[::2] for line in answer.stdout.splitlines())
        try:
            return found_in(told, self._connection.name, is_mute=is_mute)
        except EngineDeniedError:
            # The groups of a user are those of the time of the login: the next one may have more.
            self._connection.begin_anew()
            raise


def found_in(told: Mapping[str, str], name: str, *, is_mute: bool = False) -> Surroundings:
    """What `engine.sh` has said on the machine `name`; check, attach, prepare and submit all read it here.

    With `is_mute`, a connection to the engine's socket has just ended without a word.

    Raises:
        EngineAbsentError: there is no engine, or it does not run.
        EngineDeniedError: the user may not use its socket.
    """
    user, path = told.get("USER", ""), told.get("SOCKET", "")
    if not path:
        raise _absent(told, name)
    if "THERE" in told and "ACCESS" not in told:
        raise EngineDeniedError(
            f"{user or 'the user'} has no permission to use the Docker engine's socket {path} there",
            where=name,
            hint=f"somebody who may use sudo there types: sudo usermod -aG docker {user}",
        )
    if "THERE" not in told or (is_mute and told.get("LISTENS") == "no"):
        raise _stopped(name)
    uid, gid = (int(told[key]) if told.get(key, "").isdecimal() else 0 for key in ("UID", "GID"))
    return Surroundings(told.get("HOME", ""), uid, gid, user, path)


def _stopped(name: str) -> EngineAbsentError:
    return EngineAbsentError(
        "the machine is there, and its Docker engine does not run",
        where=name,
        hint="start it there: sudo systemctl start docker",
    )


def _absent(told: Mapping[str, str], name: str) -> EngineAbsentError:
    if elsewhere := told.get("ELSEWHERE"):
        return EngineAbsentError(
            f"the machine is there, and its DOCKER_HOST or Docker context names {elsewhere}, which is no "
            "socket of its own",
            where=name,
            hint="attach the machine where the engine is, or name a socket there: unix:///PATH",
        )
    if "INSTALLED" in told:
        return _stopped(name)
    return EngineAbsentError(
        "the machine is there, and has no Docker engine",
        where=name,
        hint="install Docker Engine there: https://docs.docker.com/engine/install",
    )
