"""An interrupt while rattler works: the work is canceled, and nothing else is printed or raised."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.packages.rattler_calls import awaited

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


async def waiting(ends: list[str]) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        ends.append("ended")


async def failing() -> float:
    return 1 / 0


async def interrupting(ends: list[str]) -> None:
    asyncio.get_running_loop().call_later(0.01, interrupt)
    await waiting(ends)


@pytest.fixture(autouse=True)
def _collected() -> Any:
    """What half a loop prints as it is collected fails the test that has left it."""
    yield
    gc.collect()


def _interrupted_in(name: str, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let a signal come while asyncio is in this method of its loop."""
    actual: Callable[..., Any] = getattr(asyncio.BaseEventLoop, name)

    def method(self: asyncio.BaseEventLoop, *arguments: Any) -> Any:
        interrupt(number)
        return actual(self, *arguments)

    monkeypatch.setattr(asyncio.BaseEventLoop, name, method)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["__init__", "run_until_complete", "close"])
def test_an_interrupt_of_the_loop(where: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM raises the same, where doit runs tasks."""
    ends: list[str] = []
    _interrupted_in(where, monkeypatch, number)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            if where == "close":
                awaited(asyncio.sleep, 0)
            else:
                awaited(waiting, ends)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert ends == []


def test_an_interrupt_cancels_the_work() -> None:
    ends: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        awaited(interrupting, ends)
    assert ends == ["ended"]


def test_an_interrupt_in_any_line_leaves_no_coroutine_that_nobody_awaits() -> None:
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code is not awaited.__code__:
            return None
        if event == "line":
            lines += 1
            if lines == last:
                interrupt()
        return trace

    before = sys.gettrace()
    for last in itertools.count(1):
        lines = 0
        try:
            sys.settrace(trace)
            awaited(asyncio.sleep, 0)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        gc.collect()
        if lines < last:
            break
    assert lines > 10


def test_the_handler_of_the_program_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with pytest.raises(asyncio.CancelledError):
            awaited(interrupting, [])
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_a_result_and_an_error_and_another_thread() -> None:
    assert awaited(asyncio.sleep, 0, "result") == "result"
    with pytest.raises(ZeroDivisionError):
        awaited(failing)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(awaited(asyncio.sleep, 0, "there")))
    thread.start()
    thread.join()
    assert found == ["there"]
