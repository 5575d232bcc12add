"""Running `amlexec` and `doit` to their end: each command is a process, forked where that changes nothing.

A command that is forked off a process with amlexec in it takes a third of the time, but what Python does as
it starts is not tested by it. So a command is a fresh `python -m` where its environment has what Python reads
as it starts, where it gets streams or options of its own, and where a test starts the program itself: to kill
it, to see what it imports, to close its streams. With AMLEXEC_TEST_FRESH=1 every command is fresh; `doit
newest` and `doit lowest` set it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FRESH", "can_fork", "remember_environment", "run_forked"]

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


def run_forked(
    module: str, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    """Run `python -m MODULE ARGUMENTS` to its end; its exit code, standard output and standard error.

    Raises:
        subprocess.TimeoutExpired: it has not ended in time, and was killed.
    """
    told = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    ours: list[int] = []
    theirs = [os.open(os.devnull, os.O_RDONLY)]
    for _ in ("stdout", "stderr"):
        reading, writing = os.pipe()
        ours.append(reading)
        theirs.append(writing)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_server(module))
        given = json.dumps(told).encode() + b"\0"
        sent = socket.send_fds(connection, [given], theirs)
        if sent < len(given):  # else a command that has ended by now has closed the connection
            connection.sendall(given[sent:])
        for descriptor in theirs:
            os.close(descriptor)
        answers = connection.makefile("rb")
        pid = int(answers.readline())
        try:
            out, err = _read(ours, time.monotonic() + timeout)
            connection.settimeout(timeout)
            return int(answers.readline()), out, err
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired([module, *arguments], timeout) from None
        finally:
            for descriptor in ours:
                os.close(descriptor)


def _read(descriptors: list[int], deadline: float) -> tuple[bytes, bytes]:
    """What comes from both until their ends."""
    found: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    with selectors.DefaultSelector() as waiting:
        for descriptor in descriptors:
            waiting.register(descriptor, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16)
                found[key.fd].append(piece)
                if not piece:
                    waiting.unregister(key.fd)
    out, err = (b"".join(found[descriptor]) for descriptor in descriptors)
    return out, err


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
