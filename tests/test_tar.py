"""Archives of many files are as `tarfile` writes them."""

from __future__ import annotations

import io
import tarfile
from typing import IO, cast

import pytest

from amlexec.tar import Head, Written, add_plain


@pytest.mark.parametrize("name", [b"tree/a", b"x" * 100, b"\xff\xfe" + "ü/☃".encode()])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1])
def test_heads_are_those_of_tarfile(name: bytes, size: int) -> None:
    for mode, modified in ((0o600, 0), (0o755, 1_700_000_000)):
        entry = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
        entry.mode, entry.mtime, entry.size = mode, modified, size
        head = Head(mode, modified)
        assert head.fits(name, size)
        assert head.of(name, size) == entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def test_what_does_not_fit_is_left_to_tarfile() -> None:
    head = Head(0o600, 0)
    assert not head.fits(b"x" * 101, 0)
    assert not head.fits(b"x", 8**11)


def test_written_in_pieces_it_is_the_same_archive() -> None:
    files = {f"folder/{number}": b"z" * (number * 997) for number in range(300)}
    sink, plain = io.BytesIO(), io.BytesIO()
    written = Written(sink)
    with tarfile.open(fileobj=cast("IO[bytes]", written), mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            add_plain(archive, Head(0o600, 0).of(name.encode(), len(data)), io.BytesIO(data))
    written.flush()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    assert sink.getvalue() == plain.getvalue()
