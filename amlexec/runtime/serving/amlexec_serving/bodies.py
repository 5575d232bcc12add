"""Reads the bodies of requests: their size and time are limited, and the memory of all of them together."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Mapping

from .errors import AnswerError
from .settings import Settings

__all__ = ["Bodies"]

_MOST_DISCARDED = 1 << 30
_LOOKS = 10
"""How many times within the time limit stalled clients are looked for."""


class Bodies:
    """The bodies that are in memory; all of it runs on the server's loop."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.body_limit
        self._held_limit = settings.held_limit
        self._patience = settings.body_timeout
        self._interval = max(settings.body_timeout / _LOOKS, 0.01)
        self.held = 0
        """Bytes of all bodies. The caller of `read` subtracts a body when it is done with it."""
        self._deadlines: dict[Any, float] = {}
        """The deadlines of the tasks that wait for the next part of a body."""
        self._late: set[Any] = set()
        self._is_looking = False

    async def read(self, headers: Mapping[bytes, bytes], receive: Callable[..., Any]) -> bytes:
        """The request's body, counted in `held`. Raises AnswerError (400, 408, 413, 503)."""
        announced = headers.get(b"content-length", b"")
        size = int(announced) if announced.isdigit() and len(announced) < 20 else 0
        if size > self._limit and (b"expect" in headers or size > _MOST_DISCARDED):
            raise self._too_large()
        event = await self._received(receive)
        if not event.get("more_body") and event["type"] == "http.request":
            # Most bodies come as a whole.
            body: bytes = event.get("body", b"")
            if len(body) <= self._limit and self.held + len(body) <= self._held_limit:
                self.held += len(body)
                return body
        return await self._rest(event, receive)

    async def _rest(self, event: Mapping[str, Any], receive: Callable[..., Any]) -> bytes:
        pieces: list[bytes] = []
        total = kept = 0
        try:
            while True:
                if event["type"] == "http.disconnect":
                    raise AnswerError(400, "the client left before its body was complete")
                piece = event.get("body", b"")
                total += len(piece)
                if total > self._limit:
                    pieces.clear()  # the rest is read, so that the client sees the answer, but not kept
                    self.held -= kept
                    kept = 0
                    if total > _MOST_DISCARDED:
                        raise self._too_large()
                elif piece:
                    if self.held + len(piece) > self._held_limit:
                        raise AnswerError(503, "too many large requests at once", retry_after="1")
                    pieces.append(piece)
                    self.held += len(piece)
                    kept += len(piece)
                if not event.get("more_body", False):
                    break
                event = await self._received(receive)
            if total > self._limit:
                raise self._too_large()
        except BaseException:
            self.held -= kept
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _received(self, receive: Callable[..., Any]) -> Mapping[str, Any]:
        """The next part of a body. Raises AnswerError (408).

        A timer for each part, or `asyncio.wait_for`, would cost more than all the rest.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        self._deadlines[task] = loop.time() + self._patience
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(self._interval, self._look, loop)
        try:
            event: Mapping[str, Any] = await receive()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            message = "the body did not arrive: nothing for {:g} s".format(self._patience)
            raise AnswerError(408, message, connection="close") from None
        finally:
            del self._deadlines[task]
            self._late.discard(task)
        return event

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the tasks whose deadline has passed; again later, while any task waits."""
        now = loop.time()
        for task, deadline in self._deadlines.items():
            if now > deadline and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._is_looking = bool(self._deadlines)
        if self._is_looking:
            loop.call_later(self._interval, self._look, loop)

    def _too_large(self) -> AnswerError:
        return AnswerError(
            413,
            "the body is larger than the limit of {} bytes".format(self._limit),
            connection="close",
        )
