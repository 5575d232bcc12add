"""A Docker engine: the one that is there, else Debian's, started by us and stopped only by us."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from amlexec.docker import client
from amlexec.docker.errors import EngineDeniedError
from amlexec.errors import TargetError

from .places import can_install, state
from .tools import MissingError, ToolError, install, known, last_lines

__all__ = ["answers", "ready", "stop"]

_SOCKET = "unix:///var/run/docker.sock"
_PIDFILE = Path("/var/run/docker.pid")
_LESS_COLLECTING = {"GOGC": "400"}
"""Go collects garbage at five times the heap, not at twice: it took a fifth of the engine's CPU time."""
_START = 60.0
"""Seconds. A first start makes the engine's folders and its network; loaded machines take long."""


def answers() -> bool:
    """Whether an engine answers where the `docker` command would look."""
    return _why_not() is None


def ready() -> None:
    """Have an engine that answers.

    Raises:
        MissingError: there is none, and this is not a machine where we may install or start one.
        ToolError: installing or starting it failed.
    """
    why = _why_not()
    if why is None:
        return
    if not can_install() or isinstance(why, EngineDeniedError) or not _is_ours_to_start():
        raise MissingError(f"no Docker engine: {why.message}\n    {why.hint}")
    if shutil.which("dockerd") is None:
        print("installing Debian's Docker engine")
        # The command `docker`, which the documentation shows, is a package of its own since Debian 13.
        install("docker.io", "iptables", *known("docker-cli"))
    if not answers():  # Debian's package may have started it
        _start()


def stop() -> None:
    """Stop the engine if we started it: by its recorded pid, where that is still the same process."""
    record = state() / "dockerd.json"
    with contextlib.suppress(FileNotFoundError):
        try:
            told = json.loads(record.read_text("utf-8"))
        except ValueError:
            told = {}
        pid = int(told.get("pid", 0))
        if pid and _born(pid) == told.get("born"):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _START
            while _born(pid) == told.get("born"):
                if time.monotonic() > deadline:
                    raise ToolError(f"the Docker engine (pid {pid}) has not ended {_START:g} s after SIGTERM")
                time.sleep(0.05)
        record.unlink()


def _why_not() -> TargetError | None:
    try:
        client.from_environment().version()
    except TargetError as error:
        return error
    return None


def _is_ours_to_start() -> bool:
    """Whether the engine that is looked for is this machine's own, and not one that somebody has named."""
    return client.from_environment().address == _SOCKET


def _start() -> None:
    print("starting a Docker engine")
    folder = state()
    log = folder / "dockerd.log"
    _forget_dead_engine()
    with log.open("wb") as output:
        # In a session of its own: it stays when doit ends, and Ctrl-C does not reach it.
        process = subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=_LESS_COLLECTING | os.environ,
        )
    record = folder / "dockerd.json"
    record.write_text(json.dumps({"pid": process.pid, "born": _born(process.pid)}), "utf-8")
    deadline = time.monotonic() + _START
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if process.poll() is not None:
        record.unlink()
        if not answers():  # else somebody else's start was first, and theirs it is
            raise _failed(f"dockerd ended with {process.returncode}", log)
    elif not answers():
        raise _failed(f"dockerd has not answered after {_START:g} s", log)
    # It outlives us by design: nobody waits for it, and there is nothing to warn of.
    process.returncode = 0


def _failed(what: str, log: Path) -> ToolError:
    said = log.read_text("utf-8", "replace")
    return ToolError(f"{what}; its log is {log}\n{last_lines(said)}")


def _born(pid: int) -> str:
    """When a process began, in the kernel's ticks: with its pid, who it is. "" where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _forget_dead_engine() -> None:
    """Remove a pid file that a crash has left: dockerd would take whatever has that pid now for an engine."""
    try:
        pid = int(_PIDFILE.read_text("utf-8"))
        name = Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except (OSError, ValueError):
        name = ""
    if name != "dockerd":
        _PIDFILE.unlink(missing_ok=True)
