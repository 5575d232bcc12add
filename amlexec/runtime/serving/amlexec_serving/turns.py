"""Calls a scoring script's `run` on the main thread, between two passes of the server's loop.

Handing each call to another thread and its result back costs more than a short call itself. So the main
thread runs the loop, leaves it for the calls that have come in, and returns. The loop must not stand still
meanwhile: if the main thread stays away, the other thread runs it, so that health checks are answered and
requests refused during a long call. Only one thread runs the loop at a time. `run` is always called on the
main thread, and while no loop runs there: a script may use `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from typing import Any, Callable

from .errors import AnswerError, passable

__all__ = ["Turns"]

_AWAY_S = 0.02
"""How often the other thread looks whether the main thread is away; after the second time, it takes over."""
_IDLE_LOOKS = 50
"""After how many looks at an idle service it waits for the next call instead."""
_BATCH_S = 0.001
"""How long calls go on before answers are sent that are ready."""


class Turns:
    """The server's loop and who runs it; a bounded queue of calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop, longest: int) -> None:
        self._loop = loop
        self._longest = longest
        self._jobs: collections.deque[Any] = collections.deque()
        self._token = threading.Lock()
        """Held by the thread that runs the loop."""
        self._is_main = False
        """Whether it is the main thread."""
        self._absences = 0
        self._absence = 0
        """The number of the main thread's absence from the loop; 0 while it runs the loop or waits for it."""
        self._is_asleep = False
        self._wake = threading.Event()
        self.is_over = False
        self.waiting = 0
        """Number of calls that wait or run; changed on the loop only."""

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on the main thread; its result.

        Raises:
            AnswerError: 503, too many calls wait.
        """
        if self.waiting > self._longest:
            raise AnswerError(503, "too many requests are waiting", retry_after="1")
        future = self._loop.create_future()
        self._jobs.append((function, arguments, future))
        if self._is_main:
            self._loop.stop()  # after this pass
        self.waiting += 1
        try:
            return await future
        finally:
            self.waiting -= 1

    def end(self) -> None:
        """On the loop: there is nothing more to do."""
        self.is_over = True
        self._loop.stop()
        self._wake.set()

    def stop(self) -> None:
        """From any thread: the server has ended, or failed."""
        self.is_over = True
        self._told(self._loop.stop)

    def work(self) -> None:
        """On the main thread: run the loop and the calls, until the end."""
        self._take()
        while not self.is_over:
            if self._jobs:
                self._loop.stop()  # after one pass, which sends the answers that are ready
            self._is_main = True
            self._loop.run_forever()
            self._is_main = False
            if self.is_over:
                break
            self._absences += 1
            self._absence = self._absences
            self._token.release()
            if self._is_asleep:
                self._wake.set()
            answers = self._called()
            self._absence = 0
            self._take()
            _deliver(answers)
        self._token.release()

    def _called(self) -> list[Any]:
        """Do the calls; the answers that were not sent yet."""
        answers: list[Any] = []
        until = time.perf_counter() + _BATCH_S
        while self._jobs:
            function, arguments, future = self._jobs.popleft()
            if future.cancelled():
                continue
            result = error = None
            try:
                result = function(*arguments)
            except BaseException as raised:  # also a script that calls sys.exit
                error = raised
            answers.append((future, result, error))
            if time.perf_counter() < until:
                continue
            if not self._token.locked():
                return answers
            # The other thread runs the loop, and may go on with it.
            if not self._told(_deliver, answers):
                return []
            answers = []
        return answers

    def _take(self) -> None:
        """Run the loop from now on: the other thread leaves it, if it has it."""
        if not self._token.acquire(blocking=False):
            self._told(self._loop.stop)
            self._token.acquire()

    def _told(self, function: Callable[..., Any], *arguments: Any) -> bool:
        """Have something done by the thread that runs the loop; False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def relieve(self) -> None:
        """On the other thread: run the loop at the beginning, and while the main thread is away for long."""
        absence = 0
        while not self.is_over:
            with self._token:
                # The main thread may be back by now.
                if self._absence == absence and not self.is_over:
                    self._loop.run_forever()
            absence = self._long_absence()

    def _long_absence(self) -> int:
        """Wait until the main thread is away for long; the number of that absence."""
        absence, absences, idle = 0, -1, 0
        while not self.is_over:
            now = self._absence
            if now and now == absence:
                return now
            idle = idle + 1 if self._absences == absences else 0
            absence, absences = now, self._absences
            if idle < _IDLE_LOOKS:
                time.sleep(_AWAY_S)
                continue
            idle = 0
            self._wake.clear()
            self._is_asleep = True
            if not self._absence and not self.is_over:
                self._wake.wait()
            self._is_asleep = False
        return 0


def _deliver(answers: list[Any]) -> None:
    """On the loop, or while it does not run: give the calls' results to who waits for them."""
    for future, result, error in answers:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(passable(error))
