"""Calls a scoring script's `run` on the main thread, between two passes of the server's loop.

Handing each call to another thread and its result back costs more than a short call itself. So the main
thread runs the loop, leaves it for the calls that have come in, and returns. The loop must not stand still
meanwhile: if the main thread stays away, the other thread runs it, so that health checks are answered and
requests refused during a long call. Only one thread runs the loop at a time. `run` is always called on the
main thread, and while no loop runs there: a script may use `asyncio.run`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from typing import Any, Callable, Generator

from .errors import AnswerError

__all__ = ["Driven", "Turns"]

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
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
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
        """Call a function on the main thread; its result. Only for a coroutine within `Driven`.

        Raises:
            AnswerError: 503, too many calls wait.
        """
        if self.waiting > self._longest:
            raise AnswerError(503, "too many requests are waiting", retry_after="1")
        self.waiting += 1
        try:
            return await _Call(self, function, arguments)
        finally:
            self.waiting -= 1

    def put(self, call: _Call, coroutine: Any) -> asyncio.Future[Any]:
        """On the loop: let the main thread do a call, and then go on with the coroutine that waits for it."""
        future = self._loop.create_future()
        self._jobs.put((call, coroutine, future))
        if self._is_main:
            self._loop.stop()  # after this pass
        return future

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
            if not self._jobs.empty():
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
            # uvicorn makes objects of asyncio, which look for the running loop.
            asyncio._set_running_loop(self._loop)  # noqa: SLF001 - there for whoever runs a loop
            _deliver(answers)
            asyncio._set_running_loop(None)  # noqa: SLF001
        self._token.release()

    def _called(self) -> list[Any]:
        """Do the calls; the answers that were not sent yet."""
        answers: list[Any] = []
        until = time.perf_counter() + _BATCH_S
        while True:
            try:
                call, coroutine, future = self._jobs.get_nowait()
            except queue.Empty:
                return answers
            if future.cancelled():
                continue
            result = error = None
            try:
                result = call.function(*call.arguments)
            except BaseException as raised:  # also a script that calls sys.exit
                error = raised
            answers.append((coroutine, future, result, error))
            if time.perf_counter() < until:
                continue
            if not self._token.locked():
                return answers
            # The other thread runs the loop, and may go on with it.
            if not self._told(_deliver, answers):
                return []
            answers = []

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


class _Call:
    """Awaiting this leaves the task; `Driven` does what it says."""

    __slots__ = ("arguments", "function", "turns")

    def __init__(self, turns: Turns, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.turns = turns
        self.function = function
        self.arguments = arguments

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)


class Driven:
    """Await a coroutine, which goes on as soon as its call has ended, and not only in the loop's next pass.

    So an answer is sent one pass earlier. Whatever else the coroutine waits for is left to its task.
    """

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        step, value = coroutine.send, None
        while True:
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value
            try:
                while isinstance(waits_for, _Call):
                    future = waits_for.turns.put(waits_for, coroutine)
                    try:
                        waits_for = yield from future.__await__()
                    except asyncio.CancelledError:
                        if not future.cancelled() and future.result() is _ENDED:
                            return None
                        raise
                if waits_for is _ENDED:
                    return None
                step, value = coroutine.send, (yield waits_for)
            except asyncio.CancelledError as error:
                step, value = coroutine.throw, error


_ENDED = object()


def _deliver(answers: list[Any]) -> None:
    """On the loop, or while it does not run: go on with the coroutines that waited for these calls."""
    for coroutine, future, result, error in answers:
        if future.cancelled():
            continue
        try:
            if error is None:
                future.set_result(coroutine.send(result))
            else:
                future.set_result(
                    coroutine.throw(error if isinstance(error, Exception) else RuntimeError(repr(error)))
                )
        except StopIteration:
            future.set_result(_ENDED)
        except BaseException as raised:
            future.set_exception(raised if isinstance(raised, Exception) else RuntimeError(repr(raised)))
