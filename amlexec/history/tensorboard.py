"""Read scalars from TensorBoard's event files, without TensorBoard and without TensorFlow.

A file is a sequence of records: length (8 bytes), checksum of it (4), data, checksum of the data (4). The
data is a protobuf message `Event`; a scalar is its `simple_value` (TensorFlow 1, PyTorch) or a tensor with
one element (TensorFlow 2). Other summaries are passed over. Memory use does not grow with the file.
"""

from __future__ import annotations

import functools
import math
import os
import re
import struct
import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple

from amlexec.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["EventFile", "Scalar", "is_event_file", "masked_crc"]

_LARGEST = 1 << 20
"""Bytes of a record that is read; a larger one is an image or a graph."""
_BLOCK = 1 << 21
"""Bytes that are read at once; more than the largest record."""
_LARGEST_TAG = 4096
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_SIMPLE_VALUE = 2 << 3 | _FLOAT
_double, _float = struct.Struct("<d").unpack, struct.Struct("<f").unpack_from
_NUMBERS = {1: "<f", 2: "<d", 3: "<i", 9: "<q", 19: "<e"}
"""Formats of one element of a tensor, by TensorFlow's number of its type."""
_LISTS = {5: (1, "<f"), 6: (2, "<d")}
"""Fields of a tensor that hold its elements: the number of their type, and their format."""


class Scalar(NamedTuple):
    """A value of a tag."""

    tag: str
    step: int
    time: float
    """Seconds since 1970."""
    value: float


class EventFile:
    """An event file, which may still be growing: each `scalars` continues where the last one ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self.is_damaged = False
        """Whether a checksum was wrong: the rest of the file is not read."""

    def scalars(self) -> Iterator[Scalar]:
        """The scalars that were added since the last call; a record that is incomplete is left for the next.

        Raises OSError if it can't be read.
        """
        if self.is_damaged:
            return
        with open_regular(self.path, follow=False) as file:
            file.seek(self.position)
            rest = b""
            while block := file.read(_BLOCK):
                rest += block
                at = 0
                while (data := self._record(rest, at)) is not None:
                    at += _HEADER.size + len(data) + _CRC.size
                    self.position += _HEADER.size + len(data) + _CRC.size
                    yield from _scalars(data)
                rest = rest[at:]
                if self.is_damaged:
                    return
                if length := self._passed_over(rest):
                    if os.fstat(file.fileno()).st_size < self.position + length:
                        return
                    self.position += length
                    file.seek(self.position)
                    rest = b""

    def _record(self, buffer: bytes, at: int) -> bytes | None:
        """The data of the record at a place; None if it is damaged, too large, or incomplete."""
        start = at + _HEADER.size
        if len(buffer) < start:
            return None
        length, checksum = _HEADER.unpack_from(buffer, at)
        end = start + length
        if length <= _LARGEST and len(buffer) >= end + _CRC.size:
            data = buffer[start:end]
            if _CRC.unpack_from(buffer, end)[0] == masked_crc(data):
                # Then the length is right, too.
                return data
            self.is_damaged = True
        elif checksum != masked_crc(buffer[at : at + 8]):
            self.is_damaged = True
        return None

    def _passed_over(self, buffer: bytes) -> int:
        """The size of the record at the beginning if it is too large to be read; else 0."""
        if len(buffer) < _HEADER.size:
            return 0
        length = int(_HEADER.unpack_from(buffer)[0])
        return _HEADER.size + length + _CRC.size if length > _LARGEST else 0


def is_event_file(name: str) -> bool:
    """Whether TensorBoard would read a file of that name."""
    return "tfevents" in name


_USUAL = re.compile(
    rb"\x09(.{8})(?:\x10([\x80-\xff]{0,9}[\0-\x7f]))?"  # time, step
    rb"\x2a[\x80-\xff]{0,4}[\0-\x7f]\x0a[\x80-\xff]{0,4}[\0-\x7f]"  # one summary with one value
    rb"\x0a([\x01-\x7f])",  # the length of its tag
    re.DOTALL,
)


def _scalars(event: bytes) -> Iterable[Scalar]:
    usual = _USUAL.match(event)
    if usual is not None:
        time, step, length = usual.groups()
        end = usual.end() + length[0]
        # Nothing but a simple value follows: most events of a long file.
        if len(event) == end + 5 and event[end] == _SIMPLE_VALUE:
            tag = event[usual.end() : end].decode("utf-8", "replace")
            number = 0 if step is None else step[0] if len(step) == 1 else _signed(step)
            return (Scalar(tag, number, _double(time)[0], _float(event, end + 1)[0]),)
    try:
        return _of_message(event)
    except (ValueError, struct.error):
        return ()  # another program's message


def _of_message(event: bytes) -> list[Scalar]:
    time, step = math.nan, 0
    summaries = []
    for field, kind, value in _fields(event):
        if (field, kind) == (1, _DOUBLE):
            (time,) = _double(value)
        elif (field, kind) == (2, _VARINT):
            step = _signed(value)
        elif (field, kind) == (5, _BYTES):
            summaries.append(value)
    values = [value for summary in summaries for field, _, value in _fields(summary) if field == 1]
    return [
        Scalar(found[0], step, time, found[1]) for value in values if (found := _value(value)) is not None
    ]


def _value(summary: bytes) -> tuple[str, float] | None:
    """Tag and number of a summary; None if it is not a scalar."""
    tag, number = b"", None
    for field, kind, value in _fields(summary):
        if (field, kind) == (1, _BYTES):
            tag = value
        elif (field, kind) == (2, _FLOAT):
            (number,) = _float(value)
        elif (field, kind) == (8, _BYTES):
            number = _element(value)
    if number is None or not 0 < len(tag) <= _LARGEST_TAG:
        return None
    return tag.decode("utf-8", "replace"), number


def _element(tensor: bytes) -> float | None:
    """The element of a tensor with one; None for others."""
    dtype, content = 0, b""
    for field, kind, value in _fields(tensor):
        if (field, kind) == (1, _VARINT):
            dtype = _signed(value)
        elif (field, kind) == (4, _BYTES):
            content = value
        elif field in _LISTS:
            dtype, content = _LISTS[field][0], content + value
    form = _NUMBERS.get(dtype)
    if form is None or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])


def _fields(message: bytes) -> list[tuple[int, int, bytes]]:
    """Number, wire type and content of each field; of a varint, its bytes. Raises ValueError."""
    found = []
    at, end = 0, len(message)
    while at < end:
        key = message[at]
        at += 1
        if key > 127:
            key, at = _varint(message, at - 1)
        kind = key & 7
        start = at
        if kind == _BYTES:
            length, start = _varint(message, at)
            at = start + length
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_DOUBLE, _FLOAT):
            at = start + (8 if kind == _DOUBLE else 4)
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at > end:
            raise ValueError("cut off")
        found.append((key >> 3, kind, message[start:at]))
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    if at < len(message) and message[at] < 128:
        return message[at], at + 1
    value = shift = 0
    for position in range(at, min(at + 10, len(message))):
        byte = message[position]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position + 1
        shift += 7
    raise ValueError("no varint")


def _signed(varint: bytes) -> int:
    value, _ = _varint(varint, 0)
    return value - (1 << 64) if value >> 63 else value


@functools.lru_cache(maxsize=1)
def _tables() -> tuple[list[int], list[int]]:
    """Of CRC-32C (Castagnoli), for one byte and for two."""
    one = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)  # noqa: PLW2901
        one.append(number)
    return one, [one[crc & 255] ^ crc >> 8 for low in range(1 << 16) for crc in [one[low & 255] ^ low >> 8]]


def masked_crc(data: bytes) -> int:
    """The checksum of a record."""
    one, two = _tables()
    crc = 0xFFFFFFFF
    pairs = array("H", data[: len(data) & ~1])
    if sys.byteorder == "big":
        pairs.byteswap()
    for pair in pairs:
        crc = two[(crc ^ pair) & 0xFFFF] ^ crc >> 16
    if len(data) % 2:
        crc = one[(crc ^ data[-1]) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
