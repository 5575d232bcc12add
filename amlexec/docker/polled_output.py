"""What a container prints, asked for again and again: following it, Podman leaves lines out.

Where a reader of its log has caught up with a fast writer in the middle of a line, Podman goes on at the
log's end. What it says without following is whole but for that: the last line may be half of one.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker.errors import EngineError
from amlexec.docker.streams import STDERR, STDOUT, Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from amlexec.docker.streams import ContainerOutput

__all__ = ["PolledOutput"]

_PAUSE_S = 0.1
_BLOCK = 1 << 16
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


class _Line(NamedTuple):
    """A line of the log, or a part of a long one."""

    time: str
    frame: Frame


class PolledOutput:
    """As `ContainerOutput`: what a container prints, until it ends."""

    def __init__(
        self, ask: Callable[[str], ContainerOutput], is_running: Callable[[], bool], skip: tuple[int, int]
    ) -> None:
        """`ask` gives what was printed from a time on, each frame with its time in front."""
        self._ask = ask
        self._is_running = is_running
        self._skip = {STDOUT: skip[0], STDERR: skip[1]}
        self._known = dict(self._skip)
        self._time = ""
        self._count = 0
        """Of the last line handed on: its time, and how many lines of that time have been."""
        self._doubtful: _Line | None = None
        self._asked: ContainerOutput | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See `ContainerOutput.close`."""
        self._closed.set()
        if self._asked is not None:
            self._asked.close()

    @property
    def known(self) -> tuple[int, int]:
        """See `ContainerOutput.known`."""
        return self._known[STDOUT], self._known[STDERR]

    def __iter__(self) -> Iterator[Frame]:
        """See `ContainerOutput.__iter__`; the end is the container's."""
        while not self._closed.is_set():
            began = time.monotonic()
            is_running = self._is_running()
            yield from _batches(self._certain(is_running=is_running))
            if not is_running:
                return
            self._closed.wait(max(_PAUSE_S, time.monotonic() - began))

    def _certain(self, *, is_running: bool) -> Iterator[Frame]:
        """What is new, without a last line that may be half of one: until it is the same a second time."""
        last = None
        for line in self._new():
            if last is not None:
                yield from self._handed_on(last)
            last = line
        if last is not None and (last == self._doubtful or not is_running):
            yield from self._handed_on(last)
            last = None
        self._doubtful = last

    def _new(self) -> Iterator[_Line]:
        """The lines after the last that was handed on."""
        since, known = self._time, self._count
        with self._ask(_just_before(since) if since else "") as output:
            self._asked = output
            for frame in output.single_frames():
                moment, _, data = frame.data.partition(b" ")
                line = _Line(moment.decode("ascii", "replace"), Frame(frame.stream, data))
                if since and line.time != since and known:
                    continue  # of the microsecond before
                if line.time == since and known:
                    known -= 1
                    continue
                yield line

    def _handed_on(self, line: _Line) -> Iterator[Frame]:
        self._time, self._count = line.time, self._count + 1 if line.time == self._time else 1
        stream, data = line.frame
        skipped = min(self._skip[stream], len(data))
        self._skip[stream] -= skipped
        self._known[stream] += len(data) - skipped
        if len(data) > skipped:
            yield Frame(stream, data[skipped:])


def _batches(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same, neighbours of one stream put together."""
    stream, held = STDOUT, bytearray()
    for frame in frames:
        if held and (frame.stream != stream or len(held) >= _BLOCK):
            yield Frame(stream, bytes(held))
            held = bytearray()
        stream = frame.stream
        held += frame.data
    if held:
        yield Frame(stream, bytes(held))


def _just_before(moment: str) -> str:
    """A microsecond before a time of the log: what was printed *at* a time is asked for, not only after it.

    Podman says times to the second, or to the nanosecond.
    """
    from datetime import datetime, timedelta

    found = _MOMENT.fullmatch(moment)
    if found is None:
        raise EngineError(f"the engine's log has a time that can't be read: {moment!r:.80}")
    whole, fraction, zone = found.groups(default="")
    before = datetime.fromisoformat(whole) + timedelta(microseconds=int(f"{fraction}000000"[:6]) - 1)
    return f"{before.isoformat(timespec='microseconds')}{zone}"
