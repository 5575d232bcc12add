"""A Docker engine on another machine, over a Unix socket that the SSH connection forwards.

The first request opens the connection. The forward lasts as long as the connection, and all processes of the
user share it, so a second command is fast. The machine needs no `docker` command.
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
"""Name of the forwarded socket."""
_LOOK_TIMEOUT_S = 60.0
"""For the search for the engine's socket, in seconds."""


class Surroundings(NamedTuple):
    """The user on the engine's machine, and the engine's socket."""

    home: str
    uid: int
    gid: int
    user: str
    socket: str


class SSHTransport:
    """A `Transport` to the engine of the SSH user."""

    def __init__(self, connection: SSHConnection, answers: dict[str, str] | None = None) -> None:
        """No I/O. `answers` is the recent output of `engine.sh` on that machine, if the caller has it."""
        self._connection = connection
        self._answers = answers
        self._found: Surroundings | None = None

    @property
    def address(self) -> str:
        """See `Transport.address`."""
        return self._connection.address

    @property
    def surroundings(self) -> Surroundings:
        """The user on the machine; requested once. Raises like `find_again`."""
        if self._found is None:
            self._found = self._look(is_mute=False)
        return self._found

    @property
    def socket(self) -> str:
        """See `Transport.socket`."""
        return self._connection.lasting_socket(_NAME)

    def find_again(self, *, is_mute: bool) -> None:
        """See `Transport.find_again`. The engine may be stopped or use another socket; or SSH was lost.

        Raises:
            UnreachableError, LoginError, HostKeyError: SSH can't connect to the machine.
            EngineAbsentError: the machine has no running engine.
            EngineDeniedError: the user has no permission for its socket.
        """
        found = self._look(is_mute=is_mute)
        self._connection.forward_lasting(_NAME, found.socket, replaces=is_mute)
        self._found = found

    def mute(self) -> EngineError:
        """See `Transport.mute`."""
        path = self._found.socket if self._found else ""
        return EngineAbsentError(
            f"the machine's Docker engine does not answer on its socket {path}",
            where=self._connection.name,
            hint="check there that the engine runs (`docker info`), and that sshd may forward sockets: "
            "AllowStreamLocalForwarding yes, no DisableForwarding, no `restrict` in authorized_keys",
        )

    def _look(self, *, is_mute: bool) -> Surroundings:
        """Find the socket. With `is_mute`, a connection to it has just ended without an answer."""
        answers, self._answers = self._answers, None
        if answers is None:
            from amlexec.runtime import HERE

            script = (HERE / "engine.sh").read_text("utf-8")
            answer = self._connection.run(script, timeout=_LOOK_TIMEOUT_S)
            answers = dict(line.partition(" ")[::2] for line in answer.stdout.splitlines())
        try:
            return found_in(answers, self._connection.name, is_mute=is_mute)
        except EngineDeniedError:
            # A new login picks up groups that were added since.
            self._connection.begin_anew()
            raise


def found_in(answers: Mapping[str, str], name: str, *, is_mute: bool = False) -> Surroundings:
    """Read the output of `engine.sh` on the machine `name`: for check, attach, prepare and submit.

    With `is_mute`, a connection to the engine's socket has just ended without an answer.

    Raises:
        EngineAbsentError: there is no engine, or it is not running.
        EngineDeniedError: the user has no permission for its socket.
    """
    user, path = answers.get("USER", ""), answers.get("SOCKET", "")
    if not path:
        raise _absent(answers, name)
    if "THERE" in answers and "ACCESS" not in answers:
        raise EngineDeniedError(
            f"{user or 'the user'} has no permission to use the Docker engine's socket {path} there",
            where=name,
            hint=f"a user with sudo runs there: sudo usermod -aG docker {user}",
        )
    if "THERE" not in answers or (is_mute and answers.get("LISTENS") == "no"):
        raise _stopped(name)
    uid, gid = (int(answers[key]) if answers.get(key, "").isdecimal() else 0 for key in ("UID", "GID"))
    return Surroundings(answers.get("HOME", ""), uid, gid, user, path)


def _stopped(name: str) -> EngineAbsentError:
    return EngineAbsentError(
        "the machine's Docker engine is not running",
        where=name,
        hint="start it there: sudo systemctl start docker",
    )


def _absent(answers: Mapping[str, str], name: str) -> EngineAbsentError:
    if elsewhere := answers.get("ELSEWHERE"):
        return EngineAbsentError(
            f"the machine's DOCKER_HOST or Docker context names {elsewhere}, which is not a local socket",
            where=name,
            hint="attach the machine that the engine runs on, or name a socket there: unix:///PATH",
        )
    if "INSTALLED" in answers:
        return _stopped(name)
    return EngineAbsentError(
        "the machine has no Docker engine",
        where=name,
        hint="install Docker Engine there: https://docs.docker.com/engine/install",
    )
