"""One script on another machine: a channel of the connection, from its first byte to its exit code."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import subprocess
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.ssh import program
from amlexec.ssh.command import control, ssh_command
from amlexec.ssh.errors import (
    LoginError,
    UnreachableError,
    eaten_input,
    error_of,
    password_accepted,
    refused_shell,
    unproven,
    without_progress,
)
from amlexec.ssh.runtime_dir import new_file
from amlexec.ssh.stdin import Feeder

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from amlexec.ssh.askpass import Asking
    from amlexec.ssh.login import Login
    from amlexec.ssh.remote_script import RemoteScript

__all__ = ["Stream"]

_ANSWER_TIMEOUT_S = 60.0
"""Seconds until a script must have begun, where the caller has set no time."""
_FAILED = 255
"""The exit code of `ssh` where it failed itself."""
_BLOCK = 1 << 20
"""Bytes; the most that Linux gives everybody for a pipe."""
_NOISE = 1 << 10


class Stream:
    """A script that runs on another machine, and what it prints."""

    def __init__(
        self,
        login: Login,
        connection: str,
        sent: RemoteScript,
        given: bytes | IO[bytes] | None,
        timeout: float | None,
        *,
        proven: bool = False,
    ) -> None:
        """Start `ssh`; `connection` is the path of the socket that its connection has here.

        With `proven`, a password or passphrase that is not what lets us in is a LoginError.
        """
        self._login, self._connection, self._sent = login, connection, sent
        self._proven = proven and bool(login.secret)
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._code: int | None = None
        self._begun = False
        self._stderr = b""
        self.stdout: IO[bytes] = io.BytesIO()
        """What the script prints, as it comes."""
        if login.private_key and not Path(login.private_key).is_file():
            raise LoginError(
                f"there is no private key {login.private_key} here",
                where=login.alias,
                hint="attach the target anew with --private-key-file",
            )
        self._asking = _asking(login)
        # Files, not pipes: the connection's process, which writes them, may live on, and nobody has to read.
        descriptor, path = new_file("errors")
        path.unlink()
        self._errors = os.fdopen(descriptor, "r+b")
        descriptor, self._log = new_file("log")
        os.close(descriptor)
        try:
            self._process = self._start()
        except BaseException:
            self._clean()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Of what has come when contact is lost, only what is in the pipe is not lost; not all may ask.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _BLOCK)
        self._feeder = Feeder(self._process.stdin, sent.head, given)

    def _start(self) -> subprocess.Popen[bytes]:
        asking = self._asking.environment() if self._asking else {}
        command = ssh_command(self._login, self._connection, str(self._log), proven=self._proven)
        return program.start(
            [*command, "--", self._login.host, self._sent.command],
            self._errors,
            # The words of ssh are read: they have to be those of the C locale.
            {"LC_ALL": "C", **asking},
        )

    def begin(self) -> None:
        """Wait until the script has begun. Raises as `SSHConnection.run` does."""
        self._feeder.start()
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S if self._deadline is None else self._deadline
        seen = b""
        start = self._sent.start
        while start not in seen:
            part = self._read(deadline)
            if not part:
                self._code = self._end(seen)
                raise self._refused_shell(self._code, self._stderr)
            # Of what start-up files print, the end is kept: half of the mark, or why they ended the login.
            seen = seen[-_NOISE:] + part
        self._begun = True
        shown = self._log.read_text("utf-8", "replace") if self._proven else ""
        if self._proven and not self._login.private_key and not password_accepted(shown):
            raise unproven(self._login)
        if self._asking:
            self._asking.close()
        rest = seen.partition(start)[2]
        self.stdout = io.BufferedReader(_Rest(rest, lambda: self._read(self._deadline)), _BLOCK)

    @property
    def stderr(self) -> str:
        """What the script has written to standard error; there after `wait`."""
        return self._stderr.decode(errors="replace")

    def wait(self) -> int:
        """Wait for the end of the script, and return its exit code.

        Raises:
            UnreachableError: contact was lost, or the time was up: its end was not read.
            TargetError: what it was to be given could not be read here.
        """
        if self._code is None:
            self._code = self._end()
        if self._feeder.error is not None:
            raise TargetError(
                f"what was to be sent to {self._login.alias} can't be read: {self._feeder.error}"
            )
        return self._code

    def close(self) -> None:
        """End the channel. Twice is harmless."""
        if self._process.poll() is None:
            # Asked first: it then ends what it has started, such as the command of a jump host.
            self._process.terminate()
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._feeder.stop()
        # The connection's own process may hold the other ends: nothing is waited for.
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._clean()

    def _clean(self) -> None:
        if self._asking:
            self._asking.close()
        self._errors.close()
        self._log.unlink(missing_ok=True)

    def _read(self, deadline: float | None) -> bytes:
        """What has come; b"" at the end. Answers what `ssh` asks. Raises UnreachableError at the deadline."""
        while True:
            waiting = select.poll()
            waiting.register(self._output, select.POLLIN)
            asking = None if self._begun else self._asking
            if asking:
                waiting.register(asking.question, select.POLLIN)
            left = _left(deadline)
            ready = [descriptor for descriptor, _ in waiting.poll(None if left is None else left * 1000)]
            if self._output in ready:
                return os.read(self._output, _BLOCK)
            if not ready:
                raise self._late()
            if asking:
                asking.answer()

    def _end(self, noise: bytes = b"") -> int:
        try:
            status = self._process.wait(_left(self._deadline))
        except subprocess.TimeoutExpired:
            raise self._late() from None
        self._errors.seek(0)
        said = self._errors.read()
        if self._sent.was_eaten(said):
            raise eaten_input(self._login)
        self._stderr, code = self._sent.stderr(said)
        if code is not None:
            return code
        words = self._words()
        if not self._begun:
            if status != _FAILED and not words.strip():
                raise self._refused_shell(status, noise + said)
            refused = self._asking.refused if self._asking else ""
            raise error_of(self._login, words, refused, said.decode(errors="replace"))
        if status == _FAILED:
            raise UnreachableError(
                "contact was lost while a command ran there",
                where=self._login.alias,
                hint="it may go on there; try again when the machine can be reached",
            )
        return status  # the shell there was ended before it could say so

    def _refused_shell(self, status: int, said: bytes) -> LoginError:
        # What is mended there counts from the next login: a connection that stands would not see it.
        control(self._connection, "stop")
        return refused_shell(self._login, status, said)

    def _late(self) -> UnreachableError:
        # Calls to come shall not wait at a connection that leads nowhere. Who uses it already keeps it.
        control(self._connection, "stop")
        where = self._login.alias
        if self._begun:
            return UnreachableError(
                f"a command there has not ended within {self._timeout:g} s",
                where=where,
                hint="it may go on there; look whether the machine is busy or the connection slow",
            )
        within = _ANSWER_TIMEOUT_S if self._timeout is None else self._timeout
        return UnreachableError(
            f"no answer within {within:g} s", where=where, hint="is it switched on, and is the network slow?"
        )

    def _words(self) -> str:
        return without_progress(self._log.read_text("utf-8", "replace"))


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


def _asking(login: Login) -> Asking | None:
    if not login.secret:
        return None
    from amlexec.ssh.askpass import Asking

    return Asking(login)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
