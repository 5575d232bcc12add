"""Reads an untrusted tar archive, entry by entry, in bounded memory.

Reads ustar, and the extensions of GNU tar, BusyBox, bsdtar and Docker for long names and large files. Writes
nothing. Every number is checked, and extension headers are limited in size and in number per entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DEVICES", "FILE", "FOLDER", "HARD_LINK", "LINK", "TarEntry", "NotTarError", "TarReader"]

FILE, HARD_LINK, LINK, FOLDER, SPARSE = "file", "hard link", "link", "folder", "sparse file"
DEVICES = {b"3": "character device", b"4": "block device", b"6": "FIFO"}
_KINDS = {
    **DEVICES,
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": HARD_LINK,
    b"2": LINK,
    b"5": FOLDER,
    b"S": SPARSE,
}
_WITHOUT_CONTENT = frozenset([HARD_LINK, LINK, FOLDER, *DEVICES.values()])
_BLOCK = 512
_CHUNK = 1 << 18
_LONGEST_NAME = 1 << 16
"""Bytes of GNU's header for a long name; the usual limit for a path is 4,096."""
_LONGEST_HEADER = 1 << 20
"""Bytes of an extension header (pax)."""
_MOST_HEADERS = 8
"""Extension headers before one entry; two or three are usual."""
_LARGEST = 1 << 62


class NotTarError(Exception):
    """The bytes are not a tar archive, or it was cut off."""


class TarEntry(NamedTuple):
    """The header of one file."""

    name: bytes
    kind: str
    """`file`, `folder`, `link`, `hard link`, or a description of another type."""
    size: int
    """Bytes of content that follow."""
    mode: int
    """Permission bits alone."""
    modified: float | None
    """In seconds since 1970; None if it is missing or not plausible."""
    target: bytes
    """The text of a link."""
    wrong: str = ""
    """Why its header is invalid; "" if it is valid."""


class TarReader:
    """The entries of an archive from `read(size)`, which returns fewer bytes than `size` only at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = 0
        """Unread bytes of the current entry's content; `_padding` follows them."""
        self._padding = 0

    def __iter__(self) -> Iterator[TarEntry]:
        """Each entry; its content can be read before the next step.

        Raises:
            NotTarError: the next header is invalid, or the archive is cut off.
        """
        while (entry := self._next()) is not None:
            yield entry

    def content(self) -> Iterator[bytes]:
        """The content of the current entry, in pieces. Raises NotTarError if it is cut off."""
        while self._left:
            piece = self._read(min(self._left, _CHUNK))
            if not piece:
                raise NotTarError("it ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    def _skip(self) -> None:
        for _ in self.content():
            pass
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, size: int) -> bytes:
        data = self._read(size)
        while len(data) < size:
            more = self._read(size - len(data))
            if not more:
                raise NotTarError("it ends in the middle")
            data += more
        return data

    def _begin(self, size: int) -> None:
        self._left, self._padding = size, -size % _BLOCK

    def _small(self, size: int, most: int) -> bytes | None:
        """The content of an extension header; None if it is too large."""
        self._begin(size)
        data = None if size > most else b"".join(self.content())
        self._skip()
        return data

    def _next(self) -> TarEntry | None:
        self._skip()
        long: dict[bytes, bytes | None] = {}
        pax: dict[str, bytes] = {}
        wrong = ""
        headers = 0
        while (block := self._header()) is not None:
            kind, size = block[156:157], _number(block[124:136])
            if size is None or not 0 <= size <= _LARGEST:
                # The position of the next header is unknown.
                raise NotTarError("an entry has an impossible size")
            if kind not in b"LKxgX":
                return self._entry(block, size, long, pax, wrong)
            headers += 1
            if headers > _MOST_HEADERS:
                raise NotTarError("an entry has too many headers")
            if kind in b"LK":
                long[kind] = self._small(size, _LONGEST_NAME)
                continue
            data = self._small(size, _LONGEST_HEADER)
            found = None if data is None else _pax(data)
            if found is None:
                wrong = "its header is damaged or too large"
            elif kind != b"g":  # global headers are ignored
                pax.update(found)
        if headers:
            raise NotTarError("it ends within a header")
        return None

    def _header(self) -> bytes | None:
        """The next header; None at the end of the archive."""
        block = self._read(_BLOCK)
        if not block:
            raise NotTarError("its end is missing")
        block += self._exactly(_BLOCK - len(block)) if len(block) < _BLOCK else b""
        if not any(block):
            return None
        plain = block[:148] + b" " * 8 + block[156:]
        # Some old programs summed signed bytes.
        sums = {sum(plain), sum(plain) - 256 * sum(byte > 127 for byte in plain)}
        if _number(block[148:156]) not in sums:
            raise NotTarError("a header is invalid")
        return block

    def _entry(
        self, block: bytes, size: int, long: dict[bytes, bytes | None], pax: dict[str, bytes], wrong: str
    ) -> TarEntry:
        kind = _KINDS.get(block[156:157], f"entry of the unknown type {block[156:157]!r}")
        if kind == SPARSE:
            self._skip_map(block)
        name, target = _text(block[:100]), _text(block[157:257])
        if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
            name = prefix + b"/" + name
        if None in long.values():
            wrong = wrong or "its name is too long"
        name = pax.get("path", (long.get(b"L") or name + b"\0")[:-1])
        target = pax.get("linkpath", (long.get(b"K") or target + b"\0")[:-1])
        if kind == FILE and block[156:157] == b"\0" and name.endswith(b"/"):
            kind = FOLDER  # in archives from before there were types
        if any(key.startswith("GNU.sparse.") for key in pax):
            kind = SPARSE
        if "size" in pax:
            found = _decimal(pax["size"])
            if found is None:
                raise NotTarError("an entry has an impossible size")
            size = found
        if b"\0" in name + target:
            wrong = wrong or "its name has a NUL in it"
        # A link or a folder has no content; old tars write the file's size for a hard link.
        size = 0 if kind in _WITHOUT_CONTENT else size
        self._begin(size)
        mode = (_number(block[100:108]) or 0) & 0o777
        return TarEntry(name, kind, size, mode, _moment(block, pax), target, wrong)

    def _skip_map(self, block: bytes) -> None:
        """Skip the rest of GNU's map of a sparse file, which precedes its content."""
        more = block[482:483]
        while more not in (b"\0", b"0"):
            more = self._exactly(_BLOCK)[504:505]


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int | None:
    """A number in a header, octal or (GNU, for large ones) binary; None if it is invalid."""
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(field[1:], "big")
        return value if field[:1] == b"\x80" else value - (1 << 8 * (len(field) - 1))
    text = field.strip(b" \0")
    if not text:
        return 0
    if any(digit not in b"01234567" for digit in text):
        return None
    return int(text, 8)


def _decimal(text: bytes) -> int | None:
    if not text or len(text) > 19 or any(digit not in b"0123456789" for digit in text):
        return None
    value = int(text)
    return value if value <= _LARGEST else None


def _pax(data: bytes) -> dict[str, bytes] | None:
    """The records `LENGTH KEY=VALUE` of a pax header; None if they are damaged."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        length = _decimal(data[at:blank]) if blank > at else None
        if length is None or length < blank - at + 3 or at + length > len(data):
            return None
        record = data[blank + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if not record.endswith(b"\n") or not equals:
            return None
        found[key.decode("utf-8", "replace")] = value
        at += length
    return found


def _moment(block: bytes, pax: dict[str, bytes]) -> float | None:
    try:
        value = float(pax["mtime"][:40]) if "mtime" in pax else float(_number(block[136:148]) or 0)
    except (ValueError, OverflowError):
        return None
    # The range of file systems; this also refuses infinities and NaN.
    return value if -(1 << 31) < value < 1 << 33 else None
