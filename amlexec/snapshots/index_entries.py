"""The files in an index of git: gitformat-index(5), versions 2 and 3."""

from __future__ import annotations

import struct

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IndexEntry", "parsed"]


class IndexEntry(NamedTuple):
    """One file in a git index. Times are whole seconds, `size` is modulo 2**32, `name` has `/`."""

    changed: int
    modified: int
    mode: int
    size: int
    name: bytes


def parsed(index: bytes, id_size: int) -> list[IndexEntry]:
    """The files of an index, whose ids have `id_size` bytes. Raises ValueError: it is of another version."""
    signature, version, count = struct.unpack_from(">4sII", index)
    if signature != b"DIRC" or version not in {2, 3}:
        raise ValueError("is not an index of version 2 or 3")
    return list(_entries(index, count, struct.Struct(f">I4xI4x8xI8xI{id_size}xH")))


def _entries(index: bytes, count: int, fixed: struct.Struct) -> Iterator[IndexEntry]:
    offset, make = 12, IndexEntry._make  # there may be a hundred thousand
    for _ in range(count):
        changed, modified, mode, size, flags = fixed.unpack_from(index, offset)
        begin = offset + fixed.size + (2 if flags & 0x4000 else 0)
        length = flags & 0xFFF
        end = begin + length if length < 0xFFF else index.index(b"\0", begin)
        yield make((changed, modified, mode, size, index[begin:end]))
        offset += (end - offset + 8) & ~7
