"""Handle Ctrl-C and SIGTERM while doit runs tasks: running tasks end cleanly, and no more are started.

doit itself only prints a traceback. It runs tasks in its own process, in processes that it forks (`-n 2`), or
in threads (`-n 2 -P thread`), and each is handled differently:

- Its own process: the running task is interrupted, like an `amlexec` command.
- Forked processes: a terminal interrupts all of them; `kill` only the parent, which passes the signal on.
  The two can't be distinguished, so a second signal within a second counts as the same one. The parent
  continues, to collect the results of the tasks.
- Threads: Python interrupts only the main one, so tasks run as separate processes (`run`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Terminated", "begin", "code", "in_thread", "run", "running"]

SAME_SIGNAL_S = 1.0
"""Two signals within this time come from one key press."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which has the same effect as Ctrl-C."""


class _State:
    def __init__(self) -> None:
        self.process = os.getpid()
        self.code = 0
        self.stop: Callable[[], None] | None = None
        self.is_parallel = False
        self.is_running = False
        self.last = 0.0
        self.children: set[subprocess.Popen[bytes]] = set()
        self.lock = threading.Lock()


_state = _State()


def begin(stop: Callable[[], None], *, parallel: bool) -> None:
    """Handle signals from now on. `stop` keeps doit from starting more tasks.

    Ignored signals stay ignored, as for background jobs of a shell.
    """
    _state.process, _state.code, _state.stop, _state.is_parallel = os.getpid(), 0, stop, parallel
    if threading.current_thread() is not threading.main_thread():
        return  # doit is used as a library; keep the program's handlers
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _received)


def code() -> int:
    """The exit code: 130 after Ctrl-C, 143 after SIGTERM, 0 otherwise."""
    return _state.code


def in_thread() -> bool:
    """Whether this is one of the threads that doit runs tasks in."""
    return threading.current_thread() is not threading.main_thread()


class running:  # noqa: N801 - used as a context manager only
    """While a task's action runs, a signal interrupts it at once.

    Raises KeyboardInterrupt if a signal came before.
    """

    def __enter__(self) -> None:
        _state.is_running = True
        if _state.code:
            _state.is_running = False
            raise _interrupt()

    def __exit__(self, *_: object) -> None:
        _state.is_running = False


def run(arguments: Sequence[str]) -> int:
    """Run `amlexec` as a separate process with the same output; its exit code.

    Raises KeyboardInterrupt if a signal came before.
    """
    with _state.lock:
        if _state.code:
            raise _interrupt()
        # In its own process group, so that it gets the terminal's signal only once.
        child = subprocess.Popen(
            [sys.executable, "-m", "amlexec", *arguments], stdin=subprocess.DEVNULL, start_new_session=True
        )
        _state.children.add(child)
    try:
        return child.wait()
    finally:
        _state.children.discard(child)


def _interrupt() -> KeyboardInterrupt:
    return Terminated() if _state.code == 128 + signal.SIGTERM else KeyboardInterrupt()


def _received(number: int, _frame: Any) -> None:
    now = time.monotonic()
    is_same, _state.last = bool(_state.code) and now - _state.last < SAME_SIGNAL_S, now
    _state.code = _state.code or 128 + number
    if os.getpid() != _state.process:
        if _state.is_running and not is_same:
            raise _interrupt()
        return
    if _state.stop is not None:
        _state.stop()
    if not _state.is_parallel:
        raise _interrupt()
    with _state.lock:  # so that no process is being started meanwhile
        forked = [child.pid for child in multiprocessing.active_children()]
        for pid in [*forked, *(child.pid for child in _state.children)]:
            if pid is not None:
                _pass_on(pid)


def _pass_on(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        return  # the process has just ended
