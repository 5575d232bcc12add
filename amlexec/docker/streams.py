"""Streams from an engine: archives, and the output of containers in frames."""

from __future__ import annotations

import contextlib
import itertools
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker.errors import EngineAnswerError, EngineError, EngineLostError, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import requests
    from typing_extensions import Self

__all__ = ["STDERR", "STDOUT", "Archive", "Frame", "ContainerOutput", "must_be_fine"]

STDOUT, STDERR = 1, 2
_SYSTEM_ERROR = 3
_HEADER = 8
"""Bytes before every frame: the stream's number, three zeros, and the length, big-endian.

https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
"""
_BLOCK = 1 << 16


class Archive:
    """An archive, read as a stream."""

    def __init__(self, address: str, pieces: Iterator[bytes]) -> None:
        """`pieces` is docker-py's iterator; `address` is the engine's."""
        self._address, self._pieces = address, pieces
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def peek(self, size: int) -> bytes:
        """The first `size` bytes, fewer where it is shorter, which stay to be read. Raises EngineError."""
        self._rest = self.read(size) + self._rest
        return self._rest[:size]

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, fewer only at the end; without `size`, all the rest. Raises EngineError."""
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
        """The archive in pieces. Raises EngineError."""
        while part := self.read(_BLOCK):
            yield part

    def close(self) -> None:
        """Close the connection."""
        # docker-py's generator owns the connection.
        self._pieces = iter(())


class Frame(NamedTuple):
    """A piece of a container's output. `stream` is STDOUT or STDERR."""

    stream: int
    data: bytes


class ContainerOutput:
    """A container's output in frames. `close` may be called from another thread, and ends the frames."""

    def __init__(
        self,
        address: str,
        response: requests.Response,
        skip: tuple[int, int] = (0, 0),
    ) -> None:
        """`response` is the engine's answer, unread."""
        self._address = address
        self._response = response
        self._skip = {STDOUT: skip[0], STDERR: skip[1]}
        self._known = dict(self._skip)
        self._rest: Callable[[tuple[int, int]], ContainerOutput] | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        from docker.types import CancellableStream

        self._closed = True
        # This wakes a reader in another thread; closing alone would not.
        with contextlib.suppress(OSError, AttributeError, ValueError):  # the stream has already ended
            CancellableStream(iter(()), self._response).close()
        self._response.close()

    def read_after(self, rest: Callable[[tuple[int, int]], ContainerOutput]) -> None:
        """After the end, read what `rest` gives too, which is told how many bytes are known."""
        self._rest = rest

    @property
    def known(self) -> tuple[int, int]:
        """How many bytes of standard output and standard error have been read or skipped."""
        return self._known[STDOUT], self._known[STDERR]

    def __iter__(self) -> Iterator[Frame]:
        """The frames as they arrive, without skipped bytes.

        Ends when the connection ends: `inspect` tells whether the container has ended, too.

        Raises:
            EngineLostError: the connection broke in the middle of a frame.
            EngineAnswerError: the engine could not read the container's log.
        """
        yield from self._frames()
        if self._rest is not None and not self._closed:
            with self._rest(self.known) as rest:
                for frame in rest:
                    self._known[frame.stream] += len(frame.data)
                    yield frame

    def single_frames(self) -> Iterator[Frame]:
        """The frames as the engine has made them, with nothing skipped. Raises as iterating does."""
        yield from _frames(self._pieces(), self._address, lambda: self._closed, together=False)

    @property
    def is_of_podman(self) -> bool:
        """Whether the engine says that it is Podman."""
        return "Libpod-Api-Version" in self._response.headers

    def give(self, data: bytes) -> None:
        """Send the command's whole standard input, and close it. Raises EngineLostError."""
        with named(self._address):
            connected = self._body.fp.raw._sock  # noqa: SLF001 - where docker-py finds it too
            connected.sendall(data)
            connected.shutdown(socket.SHUT_WR)

    @property
    def _body(self) -> Any:
        """http.client's response: the layers above it buffer, and return nothing before the end."""
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
            # AttributeError: another thread has closed http.client's file.
            if not self._closed:
                raise


def must_be_fine(response: requests.Response, address: str) -> None:
    """Raise EngineAnswerError if an unread response is a refusal."""
    if response.status_code < 400:
        return
    with response:
        try:
            reason = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            reason = response.text.strip() or f"{response.status_code} {response.reason}"
    raise EngineAnswerError(reason, status=response.status_code, where=address)


def _frames(
    pieces: Iterator[bytes], address: str, is_closed: Callable[[], bool], *, together: bool = True
) -> Iterator[Frame]:
    """Split pieces of any size into frames; with `together`, adjacent frames of one stream are joined.

    `is_closed` tells whether the caller has closed the stream; then an incomplete frame is not an error.

    Raises:
        EngineLostError: the pieces end within a frame.
        EngineAnswerError: a frame contains an error of the engine.
        EngineError: the pieces are not frames.
    """
    buffer = b""
    for piece in pieces:
        buffer += piece
        found: list[Frame] = []
        buffer = buffer[_split(buffer, found) :]
        for stream, data in _joined(found) if together else found:
            if stream == _SYSTEM_ERROR:
                raise EngineAnswerError(data.decode(errors="replace"), status=200, where=address)
            if stream not in {STDOUT, STDERR}:
                raise EngineError("the container's output is not in frames: it has a terminal", where=address)
            yield Frame(stream, data)
    if buffer and not is_closed():
        raise EngineLostError("the connection broke in the middle of a container's output", where=address)


def _joined(frames: Iterable[Frame]) -> Iterator[Frame]:
    for stream, same in itertools.groupby(frames, key=lambda frame: frame.stream):
        yield Frame(stream, b"".join(frame.data for frame in same))


def _split(buffer: bytes, found: list[Frame]) -> int:
    """Add the complete frames at the beginning of `buffer` to `found`; returns their length in bytes."""
    start = 0
    while len(buffer) - start >= _HEADER:
        end = start + _HEADER + int.from_bytes(buffer[start + 4 : start + _HEADER], "big")
        if end > len(buffer):
            break
        found.append(Frame(buffer[start], buffer[start + _HEADER : end]))
        start = end
    return start
