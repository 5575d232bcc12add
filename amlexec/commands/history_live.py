"""`amlexec history report --live`: serve the page of runs until Ctrl-C."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from amlexec import console, kinds
from amlexec.errors import AmlexecError, TargetError, UsageError
from amlexec.history.paths import RunPaths
from amlexec.report.live import PORT, LiveServer
from amlexec.report.live_runs import LiveRuns
from amlexec.runs import lifecycle, many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.history.record import Run
    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = ["serve"]

_INTERVAL_S = 2.0
"""From one question to the targets of running runs to the next."""
_QUEUE_INTERVAL_S = 10.0
"""The same for the queue of a cluster, which many people ask."""


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
        raise TargetError(f"the server can't listen on any port: {error.strerror or error}") from error


def _ask_targets(project: Project, runs: LiveRuns, stop: threading.Event) -> None:
    """Record the ends of runs. A target that does not answer is named once."""
    silent: set[str] = set()
    next_question = 0.0
    while not stop.wait(_INTERVAL_S):
        running = [run for run in runs.running() if RunPaths.of(project, run.run_id).record.exists()]
        is_due = time.monotonic() >= next_question
        queued = {run.run_id: run for run in running if kinds.of(run.target_kind).has_many_runs}
        if is_due and queued:
            next_question = time.monotonic() + _QUEUE_INTERVAL_S
        states: dict[str, State] = {}
        unread: set[str] = set()
        for group in many.by_target(queued.values() if is_due else ()):
            with _named(group[0], silent):
                states |= many.states(project, group)
            if not any(run.run_id in states for run in group):
                unread.add(group[0].target)
        for run in running:
            if stop.is_set():
                return
            if run.run_id in queued and (not is_due or run.target in unread):
                continue
            with _named(run, silent):
                state = states.get(run.run_id)
                lifecycle.refresh(project, run, state, is_fresh=state is not None)


@contextlib.contextmanager
def _named(run: Run, silent: set[str]) -> Iterator[None]:
    """Name the target of a run once if it can't be asked."""
    try:
        yield
        silent.discard(run.target)
    except (AmlexecError, OSError) as error:
        if run.target not in silent:
            silent.add(run.target)
            reason = error.message if isinstance(error, AmlexecError) else str(error)
            console.say(f"{run.target}: warning: {reason}")
