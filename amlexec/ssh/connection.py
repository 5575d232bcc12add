"""A machine that is reached through OpenSSH: one connection to it, one script for each channel of that.

The `ssh` program does the connecting, so that `~/.ssh/config`, agents, jump hosts and hardware keys work as
they do in a terminal. The first call opens the connection, which then stays for a minute after its last use
(ControlPersist); calls of other processes of the same user go through it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.keystore import store as keystore
from amlexec.ssh.errors import HostKeyError, LoginError, UnreachableError
from amlexec.ssh.login import Login, PlainPassword, login_of
from amlexec.ssh.runtime_dir import named, runtime_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from amlexec.local_machine import Answer
    from amlexec.ssh.channel import Stream

__all__ = [
    "HostKeyError",
    "Login",
    "LoginError",
    "RUN_TIMEOUT_S",
    "SSHConnection",
    "UnreachableError",
    "login_of",
]


RUN_TIMEOUT_S = 60.0
"""For a script of which nothing else is known."""
_LOCK_TIMEOUT_S = 60.0
_MOST_ANSWER = 64 << 20
"""Bytes that a script may print which is run to its end."""


class SSHConnection:
    """A machine that is reached through OpenSSH. Threads may share it."""

    def __init__(self, login: Login, *, anew: bool = False) -> None:
        """Nothing is opened yet.

        With `anew`, the connection is one of its own, which ends with `close`: what lets us in is proven, be
        there another connection already. A password that is not what let us in is a LoginError.
        """
        self._login = login
        self._anew = os.urandom(8).hex() if anew else ""
        self._to_prove = anew

    @property
    def name(self) -> str:
        """What messages call the machine."""
        return self._login.alias

    @property
    def address(self) -> str:
        """`ssh://user@host:port`, as far as it is told: the same for all who log in there as that user."""
        user = f"{self._login.user}@" if self._login.user else ""
        host = f"[{self._login.host}]" if ":" in self._login.host else self._login.host
        return f"ssh://{user}{host}{f':{self._login.port}' if self._login.port else ''}"

    def run(
        self,
        script: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = RUN_TIMEOUT_S,
    ) -> Answer:
        """Run a POSIX sh script there to its end; `$1` and on are the arguments, `input` its standard input.

        The login shell may be any, and may print what it likes when it starts. What is no UTF-8 in the
        output is replaced; `stream` gives the bytes. The script runs in a subshell: `$$` is its parent.
        At a timeout it may go on there.

        Raises:
            UnreachableError: no answer within `timeout` seconds, or contact was lost; how far the script has
                come is not known.
            HostKeyError: the machine is not the one that is known.
            LoginError: it does not let us in.
            TargetError: there is no `ssh` here, or the key store can't be used; or the output is larger than
                64 MB.
        """
        with self._channel(script, arguments, input, timeout) as channel:
            out = channel.stdout.read(_MOST_ANSWER + 1)
            if len(out) > _MOST_ANSWER:
                raise TargetError(
                    f"its answer does not end after {_MOST_ANSWER >> 20} MB", where=self._login.alias
                )
            code = channel.wait()
        from amlexec.local_machine import Answer

        return Answer(code, out.decode(errors="replace"), channel.stderr)

    @contextlib.contextmanager
    def stream(
        self,
        script: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - as subprocess calls it
    ) -> Iterator[Stream]:
        """Run a script there as `run` does, and read what it prints while it runs, to the byte.

        Leaving the block early ends the channel; the script notices when it next reads or prints. Where the
        machine falls silent, `stdout` ends within a quarter of a minute and `wait` raises UnreachableError.
        """
        with self._channel(script, arguments, input, None) as channel:
            yield channel

    def lasting_socket(self, name: str) -> str:
        """The path here of the socket that `forward_lasting` makes under that name, be it there or not."""
        return f"{self._control()}-{name}"

    def forward_lasting(self, name: str, remote_socket: str) -> None:
        """Have `lasting_socket(name)` lead to a Unix socket there for as long as the connection stays.

        All processes of this user share it. Where it led elsewhere before, it does so no more. The
        connection has to be there: `run` something first. Raises as `run` does.
        """
        from amlexec.locks import exclusive

        connection, path = self._control(), Path(self.lasting_socket(name))
        mapping = _mapping(str(path), remote_socket)
        with exclusive(f"{path}.lock", _LOCK_TIMEOUT_S):
            # Of a connection that has ended, a socket is left to which nobody listens. One that is replaced
            # has to be given up first, for a forward that ssh has is not made twice.
            _control_of(connection, "cancel", "-L", mapping)
            path.unlink(missing_ok=True)
            if said := _control_of(connection, "forward", "-L", mapping):
                raise UnreachableError(
                    f"its socket {remote_socket} can't be forwarded: {said}", where=self.name
                )

    def begin_anew(self) -> None:
        """Let the next call log in anew, as where the user's groups have changed. What runs goes on."""
        _control_of(self._control(), "stop")

    def close(self) -> None:
        """End a connection of its own. Another one ends a minute after its last use, by whomever."""
        if self._anew and Path(self._control()).exists():
            _control_of(self._control(), "exit")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _channel(
        self, script: str, arguments: tuple[str, ...], given: bytes | IO[bytes] | None, timeout: float | None
    ) -> Iterator[Stream]:
        # What has a socket forwarded already pays for none of it.
        from amlexec.ssh.channel import Stream
        from amlexec.ssh.remote_script import remote_script
        from amlexec.ssh.waiting import connecting

        sent = remote_script(script, arguments)
        if self._login.known_hosts:
            from amlexec.ssh.host_keys import must_not_be_revoked

            must_not_be_revoked(self._login)
        with contextlib.ExitStack() as opened:
            with self._ready() as login:
                channel = Stream(login, self._control(), sent, given, timeout, proven=self._to_prove)
                opened.callback(channel.close)
                if Path(self._control()).exists():
                    channel.begin()
                else:
                    with connecting(self.name):
                        channel.begin()
                # Channels to come go through the connection that this one has opened: nobody logs in again,
                # and ssh does not say once more what has let us in.
                self._to_prove = False
            yield channel

    @contextlib.contextmanager
    def _ready(self) -> Iterator[Login]:
        """The login with a private key that `ssh` can read while it logs in."""
        login = self._login
        if not keystore.is_handle(login.private_key):
            yield login
            return
        import tempfile

        with tempfile.TemporaryDirectory(dir=runtime_folder(), prefix=named("key")) as scratch:
            file = keystore.private_key_file(login.private_key, Path(scratch))
            yield login._replace(private_key=str(file))

    def _control(self) -> str:
        """The socket of the connection: the same for everybody here who logs in there in the same way."""
        secret = "plain" if isinstance(self._login.secret, PlainPassword) else self._login.secret
        login = self._login._replace(secret=secret, alias="")
        # The variables say which `ssh`, and so which configuration of it, is meant.
        told = [*map(str, login), os.environ.get("HOME", ""), os.environ.get("PATH", ""), self._anew]
        return str(runtime_folder() / hashlib.sha256("\0".join(told).encode()).hexdigest()[:16])


def _control_of(connection: str, verb: str, *arguments: str) -> str:
    from amlexec.ssh.command import control

    return control(connection, verb, *arguments)


def _mapping(here: str, there: str) -> str:
    """What ssh(1) calls local_socket:remote_socket."""
    return ":".join(re.sub(r"([\\:])", r"\\\1", side) for side in (here, there))
