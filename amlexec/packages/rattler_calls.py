"""Call rattler: its coroutines can be interrupted, and its threads don't outlive what they work on.

`conda_remote` also sends this module to a Python on another machine, so it imports only the standard library.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["awaited", "wait_for_threads"]

_ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals whose handlers may raise an exception."""
_REST_TIMEOUT_S = 1.0
"""How long the exit of the interpreter waits for rattler, at most."""


def awaited(work: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    """The result of a coroutine function of rattler's. An interrupt cancels it.

    It is called within the loop: of a coroutine that is lost to an interrupt, Python prints that nobody has
    awaited it.
    """
    _rest_at_exit()
    found = {int(number): signal.getsignal(number) for number in _ENDING}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    if not handlers or threading.current_thread() is not threading.main_thread():
        return asyncio.run(_result(work, arguments))
    interrupted: list[int] = []
    tasks: list[Any] = []

    # An exception raised while asyncio makes or closes its loop leaves half a loop, which prints a traceback
    # when it is collected. So an interrupt raises nothing until the loop is closed.
    def interrupt(number: int, _: object) -> None:
        interrupted.append(number)
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)

    async def cancelable() -> Any:
        if interrupted:
            raise asyncio.CancelledError
        tasks.append(asyncio.current_task())
        try:
            return await work(*arguments)
        finally:
            tasks.clear()

    for number in handlers:
        signal.signal(number, interrupt)
    try:
        return asyncio.run(cancelable())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if interrupted:
            handlers[interrupted[0]](interrupted[0], None)


async def _result(work: Callable[..., Coroutine[Any, Any, Any]], arguments: tuple[Any, ...]) -> Any:
    return await work(*arguments)


@functools.cache
def _rest_at_exit() -> None:
    # rattler's threads release Python's objects shortly after they answered. Doing so while the interpreter
    # exits kills the process with a signal.
    atexit.register(wait_for_threads, _REST_TIMEOUT_S)


def wait_for_threads(timeout: float) -> None:
    """Wait until the other threads of this process sleep, `timeout` seconds at most."""
    until, calm = time.monotonic() + timeout, 0
    while calm < 3 and time.monotonic() < until:
        time.sleep(0.005)
        calm = 0 if _is_busy() else calm + 1


def _is_busy() -> bool:
    """Whether another thread of this process runs; False if that is unknown."""
    try:
        for thread in Path("/proc/self/task").iterdir():
            if int(thread.name) != threading.get_native_id():
                status = (thread / "stat").read_text("utf-8", "replace")
                if status.rpartition(")")[2].split()[0] != "S":
                    return True
    except OSError:
        pass  # not Linux, or the thread has just ended
    return False
