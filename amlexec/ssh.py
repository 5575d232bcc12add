"""A machine that is reached through OpenSSH: one connection to it, one script for each channel of that.

The `ssh` program does the connecting, so that `~/.ssh/config`, agents, jump hosts and hardware keys work as
they do in a terminal. The first call opens the connection, which then stays for a minute after its last use
(ControlPersist); calls of other processes of the same user go through it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec.connections import Answer
from amlexec.feeding import Feeder
from amlexec.login import Login, login_of
from amlexec.private import runtime_folder
from amlexec.remote_script import RemoteScript, remote_script
from amlexec.ssh_command import control, no_ssh, ssh_command
from amlexec.ssh_words import HostKeyError, LoginError, UnreachableError, error_of, refused_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer, Self

    from amlexec.errors import TargetError

__all__ = [
    "HostKeyError",
    "Login",
    "LoginError",
    "SSHConnection",
    "Stream",
    "UnreachableError",
    "login_of",
]

_ANSWER = 60.0
"""Seconds until a script must have begun, where the caller has set no time."""
_SSH_FAILED = 255
"""The exit code of `ssh` itself."""
_BLOCK = 1 << 16


class SSHConnection:
    """A machine that is reached through OpenSSH."""

    def __init__(self, login: Login) -> None:
        """Nothing is opened yet."""
        self._login = login
        self._held = contextlib.ExitStack()

    @property
    def name(self) -> str:
        """What messages call the machine."""
        return self._login.alias

    def run(
        self,
        script: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - as subprocess calls it
        timeout: float | None = 60.0,
    ) -> Answer:
        """Run a POSIX sh script there to its end; `$1` and on are the arguments, `input` its standard input.

        The login shell may be any, and may print what it likes when it starts. What is no UTF-8 in the
        output is replaced; `stream` gives the bytes. `$$` is the shell that runs the script in a subshell.
        At a timeout the script may go on there.

        Raises:
            UnreachableError: no answer within `timeout` seconds, or contact was lost; how far the script has
                come is not known.
            HostKeyError, LoginError: the machine is not the one that is known; it does not let us in.
            TargetError: there is no `ssh` here.
        """
        with self._channel(script, arguments, input, timeout) as channel:
            out = channel.read_all()
            code = channel.wait()
        return Answer(code, out.decode(errors="replace"), channel.stderr)

    @contextlib.contextmanager
    def stream(
        self,
        script: str,
        *arguments: str,
        input: bytes | IO[bytes] | None = None,  # noqa: A002 - as subprocess calls it
    ) -> Iterator[Stream]:
        """Run a script there as `run` does, and read what it prints while it runs, to the byte.

        Leaving the block early ends the channel; the script notices when it next reads or prints.
        A machine that falls silent ends `stdout`, within a quarter of a minute, and `wait` raises.
        """
        with self._channel(script, arguments, input, None) as channel:
            yield channel

    def forward(self, remote_socket: str) -> str:
        """The path of a socket here that leads to a Unix socket there, through the one connection.

        It is there until `close`. Whether anything listens at the far end shows when it is used.

        Raises: as `run` does.
        """
        held = self._held
        reading, writing = os.pipe()
        held.callback(os.close, writing)
        # As long as we hold its input open, the connection does not end between two uses of the socket.
        held.enter_context(self.stream("cat >/dev/null", input=os.fdopen(reading, "rb", 0)))
        connection = self._control()
        path = str(runtime_folder() / f"s-{secrets.token_hex(6)}")
        mapping = f"{path}:{remote_socket}".replace("\\", "\\\\")
        if said := control(connection, "forward", "-L", mapping):
            raise UnreachableError(f"its socket {remote_socket} can't be forwarded: {said}", where=self.name)
        held.callback(Path(path).unlink, missing_ok=True)
        held.callback(control, connection, "cancel", "-L", mapping)
        return path

    def close(self) -> None:
        """End the forwards. The connection itself ends a minute after its last use, by whomever."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _channel(
        self, script: str, arguments: tuple[str, ...], given: bytes | IO[bytes] | None, timeout: float | None
    ) -> Iterator[Stream]:
        sent = remote_script(script, arguments)
        channel = Stream(self._login, self._control(), sent, given, timeout)
        try:
            channel.begin()
            yield channel
        finally:
            channel.close()

    def _control(self) -> str:
        """The socket of the connection: the same for everybody here who logs in there in the same way."""
        login = self._login._replace(secret="" if not self._login.secret else "secret", alias="")
        told = "\0".join(map(str, (*login, os.environ.get("HOME", ""), os.environ.get("PATH", ""))))
        return str(runtime_folder() / hashlib.sha256(told.encode()).hexdigest()[:12])


class Stream:
    """A script that runs on another machine, and what it prints."""

    def __init__(
        self,
        login: Login,
        control: str,
        sent: RemoteScript,
        given: bytes | IO[bytes] | None,
        timeout: float | None,
    ) -> None:
        self._login, self._control, self._sent = login, control, sent
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        descriptor, self._log = tempfile.mkstemp(dir=runtime_folder(), prefix="log-")
        os.close(descriptor)
        try:
            self._process = subprocess.Popen(
                [*ssh_command(login, control, self._log), "--", login.host, sent.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "LC_ALL": "C"},
                bufsize=0,
                # Ctrl-C in a terminal is ours to deal with: it must not cut the connection that others share.
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            Path(self._log).unlink()
            raise no_ssh(error) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._feeder = Feeder(self._process.stdin, sent.head, given)
        self._code: int | None = None
        self._begun = False
        self._stderr = b""
        self.stdout: IO[bytes] = io.BytesIO()
        """What the script prints, as it comes."""

    def begin(self) -> None:
        """Wait until the script has begun. Raises as `SSHConnection.run` does."""
        self._feeder.start()
        deadline = self._deadline or time.monotonic() + _ANSWER
        seen = b""
        start = self._sent.start
        while start not in seen:
            part = self._read(deadline)
            if not part:
                self.wait()  # raises
                raise AssertionError(self._login.host)
            # Of what start-up files print, only what may be half of the mark is kept.
            seen = seen[-len(start) :] + part
        self._begun = True
        rest = seen.partition(start)[2]
        self.stdout = io.BufferedReader(_Rest(rest, lambda: self._read(self._deadline)), _BLOCK)

    def read_all(self) -> bytes:
        """What the script prints, to its end. Raises UnreachableError at the timeout."""
        return self.stdout.read()

    @property
    def stderr(self) -> str:
        """What the script has written to standard error; complete after `wait`."""
        return self._stderr.decode(errors="replace")

    def wait(self) -> int:
        """Wait for the end of the script, and return its exit code.

        Raises:
            UnreachableError: contact was lost, or the time was up: its end was not read.
        """
        if self._code is None:
            try:
                status = self._process.wait(_left(self._deadline))
            except subprocess.TimeoutExpired:
                raise self._late() from None
            self._errors.seek(0)
            said = self._errors.read()
            self._stderr, self._code = self._sent.stderr(said)
            if self._code is None:
                words = Path(self._log).read_text("utf-8", "replace")
                raise self._lost(status, words, said)
        return self._code

    def close(self) -> None:
        """End the channel. Twice is harmless."""
        self._feeder.stop()
        if self._process.poll() is None:
            # Asked first: it then ends what it has started, such as the command of a jump host.
            self._process.terminate()
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # The connection's own process may hold the other ends: nothing is waited for.
        for file in (self._process.stdin, self._process.stdout, self._errors):
            assert file is not None
            with contextlib.suppress(OSError):
                file.close()
        Path(self._log).unlink(missing_ok=True)

    def _read(self, deadline: float | None) -> bytes:
        """What has come; b"" at the end. Raises UnreachableError at the deadline."""
        waiting = select.poll()
        waiting.register(self._output, select.POLLIN)
        left = _left(deadline)
        if not waiting.poll(None if left is None else left * 1000):
            raise self._late()
        return os.read(self._output, _BLOCK)

    def _late(self) -> UnreachableError:
        where = self._login.alias
        if self._begun:
            return UnreachableError(
                f"a command there has not ended within {self._timeout:g} s",
                where=where,
                hint="it may go on there; look whether the machine is busy or the connection slow",
            )
        # Calls to come shall not wait at a connection that leads nowhere. Who uses it already keeps it.
        control(self._control, "stop")
        words = Path(self._log).read_text("utf-8", "replace")
        within = self._timeout if self._timeout is not None else _ANSWER
        if words.strip():
            return UnreachableError(error_of(self._login, words).message, where=where)
        return UnreachableError(
            f"no answer within {within:g} s", where=where, hint="is it switched on, and is the network slow?"
        )

    def _lost(self, status: int, words: str, said: bytes) -> TargetError:
        if self._begun:
            return UnreachableError(
                "contact was lost while a command ran there",
                where=self._login.alias,
                hint="it may go on there; try again when the machine can be reached",
            )
        if status == _SSH_FAILED or words.strip():
            return error_of(self._login, f"{words}\n{said.decode(errors='replace')}")
        return refused_shell(self._login, status, said)


class _Rest(io.RawIOBase):
    """What comes from a channel, after what was read of it already."""

    def __init__(self, first: bytes, read: Callable[[], bytes]) -> None:
        self._first, self._read = first, read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        part = self._first or self._read()
        self._first = part[len(view) :]
        view[: len(part)] = part[: len(view)]
        return min(len(view), len(part))


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
