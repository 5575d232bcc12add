"""Tar archives as every engine takes them, and fast ones of many small files."""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Head", "Tar", "Written", "add_plain"]

_NAME = 100
_SIZE, _MOST = slice(124, 136), 8**11
_SUM = slice(148, 156)
_PIECE = 1 << 18


class Tar(tarfile.TarFile):
    """A tar archive that is written without padding after its end.

    Podman stops reading at the end; padding that comes later is then an error of its own ("broken pipe").
    """

    def close(self) -> None:
        """See `TarFile.close`."""
        if self.mode == "w":
            # Padding fills up to a record: with the end, which is two blocks, this is a whole one.
            self.offset = -2 * tarfile.BLOCKSIZE % tarfile.RECORDSIZE
        super().close()


class Written:
    """A file object for `tarfile.open(mode="w")` that writes large pieces to another one.

    That of the mode `w|` copies what it holds for every write.
    """

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._held = bytearray()
        self._position = 0

    def tell(self) -> int:
        """The number of bytes so far."""
        return self._position

    def write(self, data: Buffer) -> int:
        """Write bytes, now or later."""
        size = memoryview(data).nbytes
        self._held += data
        self._position += size
        if len(self._held) >= _PIECE:
            self.flush()
        return size

    def flush(self) -> None:
        """Write what is held; also to be called at the end."""
        self._sink.write(bytes(self._held))
        self._held.clear()


class Readable(Protocol):
    """A stream that can be read piece by piece."""

    def read(self, size: int = ..., /) -> bytes:
        """At most `size` bytes; b"" at the end."""


class Head:
    """The entries of regular files with one mode and time: a fifth of what `tarfile` takes for each."""

    def __init__(self, mode: int, modified: int) -> None:
        entry = tarfile.TarInfo()
        entry.mode, entry.mtime = mode, modified
        self._plain = entry.tobuf(tarfile.GNU_FORMAT)
        # Without that of its size, all zeros.
        self._sum = int(self._plain[_SUM].split(b"\0")[0], 8) - sum(self._plain[_SIZE])

    def fits(self, name: bytes, size: int) -> bool:
        """Whether an entry can be written in this short form."""
        return len(name) <= _NAME and size < _MOST and not name.endswith(b"/")

    def of(self, name: bytes, size: int) -> bytes:
        """The block before the content."""
        digits = b"%011o\0" % size
        checksum = self._sum + sum(name) + sum(digits)
        plain = self._plain
        return b"%b%b%b%b%06o\0 %b" % (
            name.ljust(_NAME, b"\0"),
            plain[_NAME : _SIZE.start],
            digits,
            plain[_SIZE.stop : _SUM.start],
            checksum,
            plain[_SUM.stop :],
        )


def add_plain(archive: tarfile.TarFile, head: bytes, content: Readable) -> None:
    """Add a file to an archive that is written: its `Head.of`, and its content."""
    file: Any = archive.fileobj
    file.write(head)
    size = 0
    while part := content.read(_PIECE):
        file.write(part)
        size += len(part)
    file.write(bytes(-size % tarfile.BLOCKSIZE))
    archive.offset += tarfile.BLOCKSIZE + size + -size % tarfile.BLOCKSIZE
