"""What the program in a Pod says of the files of a run."""

from __future__ import annotations

import pytest

from amlexec.kubernetes.storage import _split


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"3\nabc-1\n", [b"abc", None]),
        (b"0\n2\n1\n", [b"", b"1\n"]),
        (b"3\nabc", None),
        (b"3\nab", None),
        (b"3\nabc5\nabc", None),
        (b"3\nabc-1\nmore", None),
        (b"-7\n-1\n", None),
        (b"Warning: no\n-1\n", None),
        (b"", None),
    ],
)
def test_only_a_whole_answer_is_read(said: bytes, found: list[bytes | None] | None) -> None:
    assert _split(bytearray(said), 2) == found
