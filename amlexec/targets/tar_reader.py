"""Reading a tar archive that a stranger may have made: its entries one after the other, in bounded memory.

ustar, and what GNU tar, BusyBox, bsdtar and Docker add to it for long names and large files. Nothing is
written here. Every number is checked, a header that only announces the next one is bounded, and there may be
only so many of them for one entry.
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
"""Bytes of GNU's header for a long name; the systems' own limit is 4,096 at a time."""
_LONGEST_HEADER = 1 << 20
"""Bytes of a header that says more of the next entry (pax)."""
_MOST_HEADERS = 8
"""Such headers before one entry; two or three are usual."""
_LARGEST = 1 << 62


class NotTarError(Exception):
    """The bytes are no tar archive, or it was cut off."""


class TarEntry(NamedTuple):
    """What an archive says of one file."""

    name: bytes
    kind: str
    """`file`, `folder`, `link`, `hard link`, or what it is otherwise, in words."""
    size: int
    """Bytes of content that follow."""
    mode: int
    """Permission bits alone."""
    modified: float | None
    """In seconds since 1970, where it says so sensibly."""
    target: bytes
    """What a link leads to."""
    wrong: str = ""
    """Why it can't be a file here, where its header already shows that."""


class TarReader:
    """The entries of an archive that `read(size)` gives: fewer bytes than `size` only at its end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = 0
        """Bytes of the current entry's content, and then of its padding, that were not read."""
        self._padding = 0

    def __iter__(self) -> Iterator[TarEntry]:
        """Each entry; its content may be read before the next one is asked for.

        Raises:
            NotTarError: what comes next is no header, or the archive ends in the middle.
        """
        while (entry := self._next()) is not None:
            yield entry

    def content(self) -> Iterator[bytes]:
        """The content of the current entry, in pieces. Raises NotTarError where it was cut off."""
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
        """The content of a header; None where it is larger than such a thing can be."""
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
                # Where the next header is, nobody can say.
                raise NotTarError("an entry has an impossible size")
            if kind not in b"LKxgX":
                return self._entry(block, size, long, pax, wrong)
            headers += 1
            if headers > _MOST_HEADERS:
                raise NotTarError("headers follow headers without end")
            if kind in b"LK":
                long[kind] = self._small(size, _LONGEST_NAME)
                continue
            data = self._small(size, _LONGEST_HEADER)
            found = None if data is None else _pax(data)
            if found is None:
                wrong = "its header is damaged or too large"
            elif kind != b"g":  # what holds for all that follows is of no interest, least of all a name
                pax.update(found)
        if headers:
            raise NotTarError("it ends after half a header")
        return None

    def _header(self) -> bytes | None:
        """The next header; None at the end of the archive."""
        block = self._read(_BLOCK)
        if not block:
            raise NotTarError("it has no end")
        block += self._exactly(_BLOCK - len(block)) if len(block) < _BLOCK else b""
        if not any(block):
            return None
        plain = block[:148] + b" " * 8 + block[156:]
        # Some old programs took bytes for signed numbers.
        sums = {sum(plain), sum(plain) - 256 * sum(one > 127 for one in plain)}
        if _number(block[148:156]) not in sums:
            raise NotTarError("what should be a header is none")
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
            kind = FOLDER  # as archives had it before there were types
        if any(key.startswith("GNU.sparse.") for key in pax):
            kind = SPARSE
        if "size" in pax:
            found = _decimal(pax["size"])
            if found is None:
                raise NotTarError("an entry has an impossible size")
            size = found
        if b"\0" in name + target:
            wrong = wrong or "its name has a NUL in it"
        # A link or a folder has no content, whatever its header says; old tars say a hard link's size.
        size = 0 if kind in _WITHOUT_CONTENT else size
        self._begin(size)
        mode = (_number(block[100:108]) or 0) & 0o777
        return TarEntry(name, kind, size, mode, _moment(block, pax), target, wrong)

    def _skip_map(self, block: bytes) -> None:
        """The rest of GNU's map of a sparse file, which is before its content."""
        more = block[482:483]
        while more not in (b"\0", b"0"):
            more = self._exactly(_BLOCK)[504:505]


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int | None:
    """A number of a header, octal or, as GNU has large ones, binary; None where it is none."""
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(field[1:], "big")
        return value if field[:1] == b"\x80" else value - (1 << 8 * (len(field) - 1))
    text = field.strip(b" \0")
    if not text:
        return 0
    if any(one not in b"01234567" for one in text):
        return None
    return int(text, 8)


def _decimal(text: bytes) -> int | None:
    if not text or len(text) > 19 or any(one not in b"0123456789" for one in text):
        return None
    value = int(text)
    return value if value <= _LARGEST else None


def _pax(data: bytes) -> dict[str, bytes] | None:
    """The records `LENGTH KEY=VALUE` of a pax header; None where they are damaged."""
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
    # What file systems take; this also refuses infinities and what is no number.
    return value if -(1 << 31) < value < 1 << 33 else None
