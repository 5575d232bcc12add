"""What comes from an engine piece by piece: archives, and the output of containers in frames."""

from __future__ import annotations

import contextlib
import itertools
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker.errors import EngineAnswerError, EngineError, EngineLostError, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests
    from typing_extensions import Self

__all__ = ["STDERR", "STDOUT", "Archive", "Frame", "ContainerOutput", "must_be_fine"]

STDOUT, STDERR = 1, 2
_SYSTEM_ERROR = 3
_HEADER = 8
"""Bytes in front of every frame: the stream's number, three zeros, the length, big end first.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""
_BLOCK = 1 << 16


class Archive:
    """An archive that is read while it comes."""

    def __init__(self, address: str, pieces: Iterator[bytes]) -> None:
        """`pieces` is what docker-py gives; `address` is the engine's."""
        self._address, self._pieces = address, pieces
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end; all that is left without `size`. Raises EngineError."""
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self._rest:
                with named(self._address):
                    self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            wanted = len(self._rest) if size < 0 else size - len(found)
            found += self._rest[:wanted]
            self._rest = self._rest[wanted:]
        return bytes(found)

    def pieces(self) -> Iterator[bytes]:
        """The archive as it comes. Raises EngineError."""
        while part := self.read(_BLOCK):
            yield part

    def close(self) -> None:
        """Hang up."""
        # What holds the connection goes with the generator.
        self._pieces = iter(())


class Frame(NamedTuple):
    """A piece of what a container printed. `stream` is STDOUT or STDERR."""

    stream: int
    data: bytes


class ContainerOutput:
    """What a container prints, by frames. `close` may be called from another thread: the frames then end."""

    def __init__(
        self,
        address: str,
        response: requests.Response,
        skip: tuple[int, int] = (0, 0),
        rest: Callable[[tuple[int, int]], ContainerOutput] | None = None,
    ) -> None:
        """`response` is the engine's answer, of which nothing was read yet."""
        self._address = address
        self._response = response
        self._skip = {STDOUT: skip[0], STDERR: skip[1]}
        self._known = dict(self._skip)
        self._rest = rest
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        from docker.types import CancellableStream

        self._closed = True
        # A reader in another thread is woken by this; closing alone would leave it waiting.
        with contextlib.suppress(OSError, AttributeError, ValueError):  # it has come to its end already
            CancellableStream(iter(()), self._response).close()
        self._response.close()

    @property
    def known(self) -> tuple[int, int]:
        """How many bytes of standard output and standard error have been read, what was skipped included."""
        return self._known[STDOUT], self._known[STDERR]

    def __iter__(self) -> Iterator[Frame]:
        """The frames as they come, without what is to be skipped.

        The end is that of the connection: ask `inspect` whether it is the container's too.

        Raises:
            EngineLostError: the engine ended in the middle.
            EngineAnswerError: it could not read the container's log.
        """
        yield from self._frames()
        if self._rest is not None and not self._closed:
            with self._rest(self.known) as rest:
                for frame in rest:
                    self._known[frame.stream] += len(frame.data)
                    yield frame

    def give(self, data: bytes) -> None:
        """Send the input of what this is the output of, and its end. Raises EngineLostError."""
        with named(self._address):
            connected = self._body.fp.raw._sock  # noqa: SLF001 - where docker-py finds it too
            connected.sendall(data)
            connected.shutdown(socket.SHUT_WR)

    @property
    def _body(self) -> Any:
        """http.client's answer: of those above it, none hands on what has come before all has."""
        return self._response.raw._fp  # noqa: SLF001 - where docker-py finds it too

    def _frames(self) -> Iterator[Frame]:
        for stream, data in _frames(self._pieces(), self._address, lambda: self._closed):
            skipped = min(self._skip[stream], len(data))
            self._skip[stream] -= skipped
            self._known[stream] += len(data) - skipped
            if len(data) > skipped:
                yield Frame(stream, data[skipped:])

    def _pieces(self) -> Iterator[bytes]:
        try:
            with named(self._address):
                body = self._body
                while piece := body.read1(_BLOCK):
                    yield piece
        except (EngineError, AttributeError):
            # http.client finds its own file gone where another thread has hung up.
            if not self._closed:
                raise


def must_be_fine(response: requests.Response, address: str) -> None:
    """Raise where an answer that docker-py has not read is a refusal (EngineAnswerError)."""
    if response.status_code < 400:
        return
    with response:
        try:
            reason = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            reason = response.text.strip() or f"{response.status_code} {response.reason}"
    raise EngineAnswerError(reason, status=response.status_code, where=address)


def _frames(pieces: Iterator[bytes], address: str, is_closed: Callable[[], bool]) -> Iterator[Frame]:
    """The frames that pieces of any size hold, neighbours of one stream put together.

    `is_closed` tells whether we have hung up, so that half of a frame at the end is no fault.

    Raises:
        EngineLostError: the pieces end within a frame.
        EngineAnswerError: the engine says in a frame of its own what is wrong.
        EngineError: they are no frames.
    """
    held = b""
    for piece in pieces:
        held += piece
        found: list[Frame] = []
        held = held[_split(held, found) :]
        for stream, same in itertools.groupby(found, key=lambda frame: frame.stream):
            data = b"".join(frame.data for frame in same)
            if stream == _SYSTEM_ERROR:
                raise EngineAnswerError(data.decode(errors="replace"), status=200, where=address)
            if stream not in {STDOUT, STDERR}:
                raise EngineError("the container's output is not in frames: it has a terminal", where=address)
            yield Frame(stream, data)
    if held and not is_closed():
        raise EngineLostError("the Docker engine ended in the middle of a container's output", where=address)


def _split(held: bytes, found: list[Any]) -> int:
    """Add the whole frames at the beginning of `held` to `found`; how many bytes they are."""
    start = 0
    while len(held) - start >= _HEADER:
        end = start + _HEADER + int.from_bytes(held[start + 4 : start + _HEADER], "big")
        if end > len(held):
            break
        found.append(Frame(held[start], held[start + _HEADER : end]))
        start = end
    return start
