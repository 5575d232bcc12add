"""Event files as TensorBoard's writers write them, a scalar at a time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from amlexec.history.tensorboard import masked_crc

if TYPE_CHECKING:
    from pathlib import Path


def scalar(tag: str, step: int, value: float, time: float = 1.5e9) -> bytes:
    """The record of a scalar, as PyTorch writes it."""
    inner = _message(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    summary = _message(1, inner)
    return record(b"\x09" + struct.pack("<d", time) + b"\x10" + varint(step) + _message(5, summary))


def record(data: bytes) -> bytes:
    """The record of an event."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def varint(number: int) -> bytes:
    """A number as protobuf has it; a negative one has ten bytes."""
    number &= (1 << 64) - 1
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def write(path: Path, *records: bytes) -> None:
    """Write an event file, with the record of its version first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record(b"\x09" + bytes(8) + _message(3, b"brain.Event:2")) + b"".join(records))


def _message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content
