"""`amlexec history report --live`: serve the page of runs until Ctrl-C."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.errors import AmlexecError, TargetError, UsageError
from amlexec.history.paths import RunPaths
from amlexec.report.live import PORT, LiveServer
from amlexec.report.live_runs import LiveRuns
from amlexec.runs import lifecycle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.values import Project

__all__ = ["serve"]

_INTERVAL_S = 2.0
"""From one question to the targets of running runs to the next."""


def serve(project: Project, chosen: Sequence[str], most: int, port: int | None, *, show: bool) -> None:
    """Serve the page, and ask the targets of runs that go on. Returns after Ctrl-C.

    Raises:
        TargetError: no port is free.
        UsageError: `port` is not a port.
    """
    if port is not None and not 0 < port < 65536:
        raise UsageError(f"--port {port}: a port is a number from 1 to 65535")
    runs = LiveRuns(project, chosen, most)
    runs.runs()
    server = _listening(runs, PORT if port is None else port)
    stop = threading.Event()
    watcher = threading.Thread(target=_ask_targets, args=(project, runs, stop), daemon=True)
    try:
        watcher.start()
        console.data(server.address)
        console.write("", now=True)
        console.say("serving the page until Ctrl-C")
        if show:
            from amlexec.commands.browser import open_page

            open_page(server.address)
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        console.say("stopped")
    finally:
        stop.set()
        server.server_close()


def _listening(runs: LiveRuns, port: int) -> LiveServer:
    try:
        return LiveServer(runs, port)
    except OSError as error:
        console.say(f"warning: port {port}: {(error.strerror or str(error)).lower()}; another one is used")
    try:
        return LiveServer(runs, 0)
    except OSError as error:
        raise TargetError(f"no port can be listened on: {error.strerror or error}") from error


def _ask_targets(project: Project, runs: LiveRuns, stop: threading.Event) -> None:
    """Record the ends of runs. A target that does not answer is named once."""
    silent: set[str] = set()
    while not stop.wait(_INTERVAL_S):
        for run in runs.running():
            if stop.is_set():
                return
            try:
                if RunPaths.of(project, run.run_id).record.exists():
                    lifecycle.refresh(project, run)
                    silent.discard(run.target)
            except (AmlexecError, OSError) as error:
                if run.target not in silent:
                    silent.add(run.target)
                    reason = error.message if isinstance(error, AmlexecError) else str(error)
                    console.say(f"{run.target}: warning: {reason}")
