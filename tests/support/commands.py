"""Running `amlexec` and `doit`: each command is a process, forked where that changes nothing.

A command that is forked off a process with amlexec in it takes a third of the time, but what Python does as
it starts is not tested by it. So a command is a fresh `python -m` where its environment has what Python reads
as it starts, where it gets a terminal or a process group of its own, and where a test starts the program
itself: to see what it imports, or to interrupt it as it starts. With AMLEXEC_TEST_FRESH=1 every
command is fresh; `doit newest` and `doit lowest` set it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FRESH", "ForkedCommand", "can_fork", "remember_environment", "run_forked"]

_PROGRAM = str(Path(__file__).with_name("fork_server.py"))
_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "MALLOC_")
"""Variables whose names begin so are read before any module is."""
_UNWANTED = {"PYTHONPATH", "PYTHONUNBUFFERED"}
"""No test has these, unless it sets them itself."""
_NOT_PYTHONS_OWN = {"PYTHON_KEYRING_BACKEND"}
FRESH = bool(os.environ.get("AMLEXEC_TEST_FRESH"))
_BEGUN: dict[str, str] = {}
"""The variables of the servers."""
_SERVERS: dict[str, str] = {}
"""Modules, and the sockets of their servers."""
_STARTING = threading.Lock()


def remember_environment() -> None:
    """Let servers have what Python reads as it starts as it is now."""
    _BEGUN.update({name: value for name, value in _at_start(os.environ).items() if name not in _UNWANTED})


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether a command with this environment is the same process, forked or not."""
    if FRESH or not hasattr(os, "pidfd_open"):
        return False
    return _at_start(environment) == _BEGUN


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    names = (name for name in environment if name.startswith(_AT_START) and name not in _NOT_PYTHONS_OWN)
    return {name: environment[name] for name in names}


class ForkedCommand(subprocess.Popen[bytes]):
    """`python -m MODULE ARGUMENTS`, forked off the module's server; standard input is empty, or a pipe."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> None:
        """Streams are those of `subprocess.Popen`, but not None."""
        self._module, self._arguments = module, arguments
        self._connection = socket.socket(socket.AF_UNIX)
        command = [sys.executable, "-m", module, *arguments]
        streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        super().__init__(command, cwd=folder, env=environment, **streams)  # type: ignore[call-overload]

    def _execute_child(self, *given: Any) -> None:
        """What Popen calls: start it with the descriptors of the pipes that Popen has made."""
        told = {"arguments": self._arguments, "folder": str(given[5]), "environment": dict(given[6])}
        pipes = given[10:16]  # for each stream, the end that is read and the end that is written
        theirs = [pipes[0], pipes[3], pipes[5]]
        whole = json.dumps(told).encode() + b"\0"
        self._connection.connect(_server(self._module))
        sent = socket.send_fds(self._connection, [whole], theirs)
        if sent < len(whole):  # else a command that has ended by now has closed the connection
            self._connection.sendall(whole[sent:])
        self._answers = self._connection.makefile("rb")
        self.pid = int(self._answers.readline())
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        """What Popen calls: its exit code, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        """What Popen calls: wait for its exit code."""
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        with self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                self.returncode = int(self._answers.readline())
                self._answers.close()
                self._connection.close()
        return self.returncode


def run_forked(
    module: str,
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float,
    given: bytes | None = None,
    *,
    merged: bool = False,
) -> tuple[int, bytes, bytes]:
    """Run `python -m MODULE ARGUMENTS` to its end; its exit code, standard output and standard error.

    `given` is its standard input. With `merged`, standard output has both.

    Raises:
        subprocess.TimeoutExpired: it has not ended in time, and was killed.
    """
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    stderr = subprocess.STDOUT if merged else subprocess.PIPE
    with ForkedCommand(module, arguments, folder, environment, stdin, stderr=stderr) as process:
        try:
            out, err = process.communicate(given, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err or b""


def _server(module: str) -> str:
    """The socket of the module's server, which runs until this process ends."""
    with _STARTING:
        if module not in _SERVERS:
            _SERVERS[module] = _started(module)
        return _SERVERS[module]


def _started(module: str) -> str:
    folder = tempfile.mkdtemp(prefix="amlexec-fork-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/s"
    # Pipes: Python decides at its start whether a stream can seek.
    process = subprocess.Popen(
        [sys.executable, _PROGRAM, path, module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**_BEGUN, "PATH": os.environ["PATH"]},
        cwd="/",
    )
    atexit.register(_end, process)
    while not Path(path).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return path


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=5)  # the server ends with its standard input
