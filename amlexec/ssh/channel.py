"""One script on another machine: a channel of the SSH connection, until the exit code."""

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
from amlexec.ssh.command import ahead_command, control, ssh_command
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
from amlexec.ssh.remote_script import TO_BE_READ, command_of, start_of
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
"""Until a script must have started, where the caller sets no timeout; in seconds."""
_AHEAD_TIMEOUT_S = 2.0
"""For a channel that was opened ahead: another is opened then."""
_FAILED = 255
"""The exit code of `ssh` if `ssh` itself failed."""
_BLOCK = 1 << 20
"""Bytes; Linux's default limit for the size of a pipe."""
_NOISE = 1 << 10


class Stream:
    """A script that runs on another machine, and its output."""

    def __init__(
        self,
        login: Login,
        connection: str,
        mark: str,
        *,
        proven: bool = False,
        is_probe: bool = False,
        is_ahead: bool = False,
    ) -> None:
        """Start `ssh`, which will wait for a script with that mark; `connection` is the path of its socket.

        With `proven`, it is a LoginError if the login succeeds without the given password or passphrase.
        For `is_probe`, see `program.probe`. With `is_ahead`, it only uses a connection that exists: then
        `is_waiting` tells whether it can be used.
        """
        self._login, self._connection = login, connection
        self._mark = mark
        self._proven = proven and bool(login.secret)
        self._timeout: float | None = None
        self._deadline: float | None = None
        self._code: int | None = None
        self._begun = False
        self._seen = b""
        self._stderr = b""
        self._feeder: Feeder | None = None
        self.stdout: IO[bytes] = io.BytesIO()
        """The script's standard output, as it arrives."""
        if login.private_key and not is_ahead and not Path(login.private_key).is_file():
            raise LoginError(
                f"the private key file {login.private_key} does not exist",
                where=login.alias,
                hint="attach the target again with --private-key-file",
            )
        self._asking = None if is_ahead else _asking(login)
        # Files, not pipes: the connection's process writes them, may outlive this one, and must not block.
        descriptor, path = new_file("errors")
        path.unlink()
        self._errors = os.fdopen(descriptor, "r+b")
        self._log: Path | None = None
        if not is_ahead:  # its messages are never needed
            descriptor, self._log = new_file("log")
            os.close(descriptor)
        try:
            self._process = self._start(program.probe if is_probe else program.start, is_ahead=is_ahead)
        except BaseException:
            self._clean()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # After the connection is lost, what is in the pipe can still be read. The size may be refused.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _BLOCK)
        if is_ahead:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(TO_BE_READ)

    def _start(
        self, start: Callable[..., subprocess.Popen[bytes]], *, is_ahead: bool
    ) -> subprocess.Popen[bytes]:
        asking = self._asking.environment() if self._asking else {}
        if is_ahead:
            command = ahead_command(self._login, self._connection)
        else:
            command = ssh_command(self._login, self._connection, str(self._log), proven=self._proven)
        return start(
            [*command, "--", self._login.host, command_of(self._mark)],
            self._errors,
            # ssh's messages are parsed: they must be those of the C locale.
            {"LC_ALL": "C", **asking},
        )

    def is_waiting(self) -> bool:
        """Whether the machine waits for the script, of which nothing was sent. Waits for it, but not long."""
        deadline = time.monotonic() + _AHEAD_TIMEOUT_S
        waiting = select.poll()
        waiting.register(self._output, select.POLLIN)
        while start_of(self._mark) not in self._seen:
            if not waiting.poll(max(0, deadline - time.monotonic()) * 1000):
                return False
            part = os.read(self._output, _NOISE)
            if not part:
                return False
            self._seen = self._seen[-_NOISE:] + part
        return self._process.poll() is None

    def begin(self, sent: RemoteScript, given: bytes | IO[bytes] | None, timeout: float | None) -> None:
        """Send the script and its input; wait until it has started. Raises like `SSHConnection.run`."""
        assert self._process.stdin is not None
        self._sent, self._timeout = sent, timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._feeder = Feeder(self._process.stdin, sent.head, given)
        self._feeder.start()
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S if self._deadline is None else self._deadline
        start = sent.start
        while start not in self._seen:
            part = self._read(deadline)
            if not part:
                self._code = self._end(self._seen)
                raise self._refused_shell(self._code, self._stderr)
            # Keep the end of what start-up files print: half of the mark, or why they ended the login.
            self._seen = self._seen[-_NOISE:] + part
        self._begun = True
        shown = self._log.read_text("utf-8", "replace") if self._proven and self._log else ""
        if self._proven and not self._login.private_key and not password_accepted(shown):
            raise unproven(self._login)
        if self._asking:
            self._asking.close()
        rest = self._seen.partition(start)[2]
        self.stdout = io.BufferedReader(_Rest(rest, lambda: self._read(self._deadline)), _BLOCK)

    def take_time(self) -> None:
        """From now on there is no timeout."""
        self._timeout = self._deadline = None

    @property
    def stderr(self) -> str:
        """The script's standard error; available after `wait`."""
        return self._stderr.decode(errors="replace")

    def wait(self) -> int:
        """Wait for the end of the script, and return its exit code.

        Raises:
            UnreachableError: the connection was lost, or the timeout is over.
            TargetError: the script's input can't be read on this machine.
        """
        if self._code is None:
            self._code = self._end()
        if self._feeder is not None and self._feeder.error is not None:
            raise TargetError(f"the data to send to {self._login.alias} can't be read: {self._feeder.error}")
        return self._code

    def close(self) -> None:
        """End the channel. Idempotent."""
        if self._process.poll() is None:
            # SIGTERM first: ssh then ends what it has started, such as the command of a jump host.
            self._process.terminate()
            try:
                self._process.wait(1)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._feeder is not None:
            self._feeder.stop()
        # Don't wait for end of file: the connection's own process may have the other ends open.
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        self._clean()

    def _clean(self) -> None:
        if self._asking:
            self._asking.close()
        self._errors.close()
        if self._log is not None:
            self._log.unlink(missing_ok=True)

    def _read(self, deadline: float | None) -> bytes:
        """The next bytes, b"" at the end. Answers ssh's questions. UnreachableError after the deadline."""
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
        stderr = self._errors.read()
        if self._sent.was_eaten(stderr):
            raise eaten_input(self._login)
        self._stderr, code = self._sent.stderr(stderr)
        if code is not None:
            return code
        words = self._words()
        if not self._begun:
            if status != _FAILED and not words.strip():
                raise self._refused_shell(status, noise + stderr)
            refused = self._asking.refused if self._asking else ""
            raise error_of(self._login, words, refused, stderr.decode(errors="replace"))
        if status == _FAILED:
            raise UnreachableError(
                "the connection was lost while a command was running",
                where=self._login.alias,
                hint="the command may still be running; try again when the machine can be reached",
            )
        return status  # the remote shell was killed before it could report the exit code

    def _refused_shell(self, status: int, output: bytes) -> LoginError:
        # A fix on the machine takes effect at the next login, so don't reuse this connection.
        control(self._connection, "stop")
        return refused_shell(self._login, status, output)

    def _late(self) -> UnreachableError:
        # Stop the master, so that later calls don't queue on a dead connection; open channels keep it.
        control(self._connection, "stop")
        where = self._login.alias
        if self._begun:
            return UnreachableError(
                f"a command on the machine has not ended within {self._timeout:g} s",
                where=where,
                hint="it may still be running; check whether the machine is busy or the connection is slow",
            )
        within = _ANSWER_TIMEOUT_S if self._timeout is None else self._timeout
        return UnreachableError(
            f"no answer within {within:g} s",
            where=where,
            hint="check that the machine is on, and the network is not slow",
        )

    def _words(self) -> str:
        return without_progress(self._log.read_text("utf-8", "replace")) if self._log else ""


class _Rest(io.RawIOBase):
    """The rest of a channel's output, beginning with the bytes that were already read."""

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
