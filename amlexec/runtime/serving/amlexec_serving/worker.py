"""Calls a scoring script's `run` on several threads; the server's loop has a thread of its own."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any, Callable

from .errors import AnswerError, passable

__all__ = ["Worker"]


class Worker:
    """A bounded queue of calls."""

    def __init__(self, concurrency: int, longest: int) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._concurrency = concurrency
        self._longest = longest
        self.waiting = 0
        """Number of calls that wait or run; changed on the loop only."""

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on one of the threads; its result.

        Raises:
            AnswerError: 503, too many calls wait.
        """
        if self.waiting >= self._longest + self._concurrency:
            raise AnswerError(503, "too many requests are waiting", retry_after="1")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self.waiting += 1
        try:
            self._jobs.put((function, arguments, future, loop))
            return await future
        finally:
            self.waiting -= 1

    def work(self) -> None:
        """Call what is asked for, until `stop`."""
        for _ in range(self._concurrency - 1):
            threading.Thread(target=self._work, daemon=True).start()
        self._work()

    def stop(self) -> None:
        """Let the calls end."""
        for _ in range(self._concurrency):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            function, arguments, future, loop = job
            if future.cancelled():
                continue
            result = error = None
            try:
                result = function(*arguments)
            except BaseException as raised:  # also a script that calls sys.exit
                error = raised
            try:
                loop.call_soon_threadsafe(_set, future, result, error)
            except RuntimeError:
                return  # the server has ended


def _set(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(passable(error))
