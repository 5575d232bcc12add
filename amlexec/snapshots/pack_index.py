"""Read the ids in a pack's index (gitformat-pack(5), version 2), which is faster than to start git."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

__all__ = ["contains", "ids"]

_HEADER = b"\xfftOc\x00\x00\x00\x02"
_FANOUT = 256 * 4
_FIRST = len(_HEADER) + _FANOUT


def contains(index: Path, object_id: str) -> bool:
    """Whether a pack has an object. False if the index does not exist or is of another version."""
    wanted = bytes.fromhex(object_id)
    try:
        with index.open("rb") as file:
            fanout = _fanout(file)
            low = fanout[wanted[0] - 1] if wanted[0] else 0
            high = fanout[wanted[0]]
            while low < high:
                middle = (low + high) // 2
                file.seek(_FIRST + middle * len(wanted))
                found = file.read(len(wanted))
                if found == wanted:
                    return True
                low, high = (middle + 1, high) if found < wanted else (low, middle)
    except (OSError, ValueError):
        return False
    return False


def ids(index: Path, id_size: int) -> Iterator[str]:
    """The ids of all objects in a pack; `id_size` is in bytes. Raises OSError or ValueError as `_fanout`."""
    with index.open("rb") as file:
        for _ in range(_fanout(file)[255]):
            yield file.read(id_size).hex()


def _fanout(file: IO[bytes]) -> tuple[int, ...]:
    """Raises ValueError if it is not an index of version 2."""
    head = file.read(_FIRST)
    if not head.startswith(_HEADER) or len(head) < _FIRST:
        raise ValueError("it is not a pack's index of version 2")
    return struct.unpack(">256I", head[len(_HEADER) :])
