"""Ctrl-C and SIGTERM while doit runs tasks: what runs ends by its own rules, and nothing more is started.

doit itself has no answer to a signal but a traceback. It runs tasks in its own process, in processes that
it forks (`-n 2`), or in threads (`-n 2 -P thread`), and each needs another one:

- Its own process: the task that runs is interrupted, as a command of `amlexec` is.
- Forked processes: a terminal interrupts all of them; `kill` only the parent, which passes the signal on.
  Which of the two it was can't be seen, so a second signal within a second is taken for the same one. The
  parent goes on, to hear how the tasks ended.
- Threads: Python interrupts only the main one. There our tasks run as processes of their own (`run`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Terminated", "begin", "code", "in_thread", "run", "running"]

SAME_SIGNAL_S = 1.0
"""Two signals within this time come of one key press."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends what runs as Ctrl-C does."""


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
    """Answer signals from now on. `stop` keeps doit from starting more tasks.

    A signal that is ignored, as in the background of a shell, stays ignored.
    """
    _state.process, _state.code, _state.stop, _state.is_parallel = os.getpid(), 0, stop, parallel
    if threading.current_thread() is not threading.main_thread():
        return  # doit is used as a library; its user's handlers hold
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _received)


def code() -> int:
    """The exit code: 130 after Ctrl-C, 143 after SIGTERM, 0 where neither came."""
    return _state.code


def in_thread() -> bool:
    """Whether this is one of the threads that doit runs tasks in."""
    return threading.current_thread() is not threading.main_thread()


class running:  # noqa: N801 - used as a context manager only
    """A task's action runs: a signal interrupts it, instead of being noted for later.

    Raises KeyboardInterrupt where a signal came before.
    """

    def __enter__(self) -> None:
        _state.is_running = True
        if _state.code:
            _state.is_running = False
            raise _interrupt()

    def __exit__(self, *_: object) -> None:
        _state.is_running = False


def run(arguments: Sequence[str]) -> int:
    """Run `amlexec` as a process of its own, with what this one prints to; its exit code.

    Raises KeyboardInterrupt where a signal came before.
    """
    with _state.lock:
        if _state.code:
            raise _interrupt()
        # A group of its own, so that the terminal's signal doesn't come twice.
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
    with _state.lock:  # no process is just being started
        forked = [child.pid for child in multiprocessing.active_children()]
        for pid in [*forked, *(child.pid for child in _state.children)]:
            if pid is not None:
                _pass_on(pid)


def _pass_on(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        return  # it has just ended
