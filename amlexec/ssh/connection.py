"""A machine over OpenSSH: one connection, and one channel of it for each script.

The `ssh` program connects, so that `~/.ssh/config`, agents, jump hosts and hardware keys work as in a
terminal. The first call opens the connection, which stays open for a minute after its last use
(ControlPersist). Other processes of the same user share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from amlexec import kinds
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
    from amlexec.values import ComputeTarget

__all__ = [
    "HostKeyError",
    "Login",
    "LoginError",
    "RUN_TIMEOUT_S",
    "SSHConnection",
    "connection_of",
    "home_of",
    "in_home",
    "UnreachableError",
    "login_of",
]


RUN_TIMEOUT_S = 60.0
"""For a script whose caller sets no timeout."""
_LOCK_TIMEOUT_S = 60.0
_MOST_ANSWER = 64 << 20
"""Bytes of output that `run` accepts."""
_AHEAD_AGE_S = 10.0
"""After this, a channel that was opened ahead is not used: the connection may have been lost since."""


class _Ahead(NamedTuple):
    """A channel that was opened ahead, and waits for a script."""

    channel: Stream
    mark: str
    since: float


class SSHConnection:
    """A machine over OpenSSH. Thread-safe."""

    def __init__(self, login: Login, *, anew: bool = False, home: str = "") -> None:
        """Opens nothing.

        `home` takes the place of the home folder for all scripts: `login_home` is then the user's own.

        With `anew`, the connection is not shared, and ends with `close`: it proves that these credentials
        work, even if another connection is open. It is a LoginError if the password was not used.
        """
        self._login = login
        self._anew = os.urandom(8).hex() if anew else ""
        self._to_prove = anew
        self._home = home
        self._lock = threading.Lock()
        self._ahead: _Ahead | None = None

    @property
    def name(self) -> str:
        """What messages call the machine."""
        return self._login.alias

    @property
    def address(self) -> str:
        """`ssh://user@host:port`, without undeclared parts; the same for all logins as that user."""
        user = f"{self._login.user}@" if self._login.user else ""
        host = f"[{self._login.host}]" if ":" in self._login.host else self._login.host
        return f"ssh://{user}{host}{f':{self._login.port}' if self._login.port else ''}"

    def run(
        self,
        script: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = RUN_TIMEOUT_S,
        is_probe: bool = False,
        expects_more: bool = False,
    ) -> Answer:
        """Run a POSIX sh script on the machine; `$1`... are the arguments, `input` is its standard input.

        Works with any login shell, and with start-up files that print. Output that is not UTF-8 is replaced;
        `stream` gives the bytes. The script runs in a subshell: `$$` is its parent. After a timeout it may
        still be running. `is_probe` is for a question that is often the only one: it is asked sooner.
        With `expects_more`, the next script starts sooner.

        Raises:
            UnreachableError: no answer within `timeout` seconds, or the connection was lost; the script may
                have run, in part or whole.
            HostKeyError: the host key is unknown or has changed.
            LoginError: the machine refused the login.
            TargetError: `ssh` is not installed, the key store can't be used, or the output is larger than
                64 MB.
        """
        how = {"is_probe": is_probe, "expects_more": expects_more}
        with self._channel(script, arguments, input, timeout, **how) as channel:
            out = channel.stdout.read(_MOST_ANSWER + 1)
            if len(out) > _MOST_ANSWER:
                raise TargetError(
                    f"its answer is larger than {_MOST_ANSWER >> 20} MB", where=self._login.alias
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
        timeout: float | None = None,
        expects_more: bool = False,
    ) -> Iterator[Stream]:
        """Run a script like `run`, and read the bytes that it prints while it runs.

        Leaving the block early ends the channel; the script notices when it next reads or prints. If the
        machine stops answering, `stdout` ends within 15 seconds and `wait` raises UnreachableError.
        """
        with self._channel(script, arguments, input, timeout, expects_more=expects_more) as channel:
            yield channel

    def lasting_socket(self, name: str) -> str:
        """The local path of the socket that `forward_lasting` makes under that name; it need not exist."""
        return f"{self._control()}-{name}"

    def forward_lasting(self, name: str, remote_socket: str, *, replaces: bool) -> None:
        """Forward `lasting_socket(name)` to a Unix socket on the machine for as long as the connection stays.

        All processes of this user share it. `replaces` is for a forward of that name that is there and does
        not work; else one that somebody listens at stays. The connection must be open: `run` something
        first. Raises like `run`.
        """
        from amlexec.locks import exclusive

        connection, path = self._control(), Path(self.lasting_socket(name))
        mapping = _mapping(str(path), remote_socket)
        with exclusive(f"{path}.lock", _LOCK_TIMEOUT_S):
            # Another process may have made it meanwhile, and be using it.
            if not replaces and _is_listened_at(path):
                return
            # A connection that has ended leaves a dead socket behind. Cancel an existing forward first,
            # because ssh does not make the same forward twice.
            _control_of(connection, "cancel", "-L", mapping)
            path.unlink(missing_ok=True)
            if failure := _control_of(connection, "forward", "-L", mapping):
                raise UnreachableError(
                    f"its socket {remote_socket} can't be forwarded: {failure}", where=self.name
                )

    def begin_anew(self) -> None:
        """Make the next call log in again: the user's groups may have changed. Open channels continue."""
        _control_of(self._control(), "stop")

    def close(self) -> None:
        """End a connection made with `anew`. A shared one ends a minute after its last use by any process."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.channel.close()
        if self._anew and Path(self._control()).exists():
            _control_of(self._control(), "exit")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _channel(
        self,
        script: str,
        arguments: tuple[str, ...],
        given: bytes | IO[bytes] | None,
        timeout: float | None,
        *,
        is_probe: bool = False,
        expects_more: bool = False,
    ) -> Iterator[Stream]:
        # Imported here: a caller whose socket is already forwarded needs none of it.
        from amlexec.ssh.channel import Stream
        from amlexec.ssh.remote_script import new_mark, remote_script
        from amlexec.ssh.waiting import connecting

        if self._login.known_hosts:
            from amlexec.ssh.host_keys import must_not_be_revoked

            must_not_be_revoked(self._login)
        script = in_home(self._home, script)
        with contextlib.ExitStack() as opened:
            if (ahead := self._taken()) is not None:
                opened.callback(ahead.channel.close)
                channel = ahead.channel
                channel.begin(remote_script(script, arguments, ahead.mark), given, timeout)
            else:
                mark = new_mark()
                sent = remote_script(script, arguments, mark)
                with self._ready() as login:
                    channel = Stream(login, self._control(), mark, proven=self._to_prove, is_probe=is_probe)
                    opened.callback(channel.close)
                    if Path(self._control()).exists():
                        channel.begin(sent, given, timeout)
                    else:
                        with connecting(self.name):
                            channel.begin(sent, given, timeout)
            # Later channels use the connection that this one has opened: there is no second login, and
            # ssh does not log the authentication method again.
            self._to_prove = False
            if expects_more:
                self.open_ahead()
            yield channel

    def open_ahead(self) -> None:
        """Begin to open a channel for the next script, while this one runs."""
        from amlexec.ssh.channel import Stream
        from amlexec.ssh.remote_script import new_mark

        mark = new_mark()
        with self._lock, contextlib.suppress(TargetError, OSError):
            if self._ahead is None and not self._anew:
                channel = Stream(self._login, self._control(), mark, is_ahead=True)
                self._ahead = _Ahead(channel, mark, time.monotonic())

    def _taken(self) -> _Ahead | None:
        """The channel that was opened ahead, if it is ready."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        if time.monotonic() - ahead.since < _AHEAD_AGE_S and ahead.channel.is_waiting():
            return ahead
        ahead.channel.close()
        return None

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
        """The control socket: the same for all processes of this user with the same login."""
        secret = "plain" if isinstance(self._login.secret, PlainPassword) else self._login.secret
        login = self._login._replace(secret=secret, alias="")
        # HOME and PATH decide which `ssh` and which configuration are used.
        key = [*map(str, login), os.environ.get("HOME", ""), os.environ.get("PATH", ""), self._anew]
        return str(runtime_folder() / hashlib.sha256("\0".join(key).encode()).hexdigest()[:16])


def connection_of(target: ComputeTarget, *, anew: bool = False) -> SSHConnection:
    """The connection of a compute target. Raises ConfigurationError as `login_of`."""
    return SSHConnection(login_of(target), anew=anew, home=home_of(target))


def home_of(target: ComputeTarget) -> str:
    """The folder that a target has in place of the user's home folder; "" for none."""
    return target.shared_directory if kinds.of(target.kind).is_slurm_cluster else ""


def in_home(folder: str, script: str) -> str:
    """A script that uses `folder` in place of the home folder; it may begin with `~/`."""
    if not folder:
        return script
    path = f'"$HOME"/{shlex.quote(folder[2:])}' if folder.startswith("~/") else shlex.quote(folder)
    return (
        f"login_home=$HOME HOME={path}\nexport HOME\n"
        '[ -d "$HOME" ] || { echo "sharedDirectory $HOME: there is no such folder" >&2; exit 2; }\n'
        f"{script}"
    )


def _control_of(connection: str, verb: str, *arguments: str) -> str:
    from amlexec.ssh.command import control

    return control(connection, verb, *arguments)


def _is_listened_at(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as tried:
        return tried.connect_ex(str(path)) == 0


def _mapping(local: str, remote: str) -> str:
    """What ssh(1) calls local_socket:remote_socket."""
    return ":".join(re.sub(r"([\\:])", r"\\\1", path) for path in (local, remote))
