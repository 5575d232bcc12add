"""The options that commands about services share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from amlexec.commands.service_options import body_of, sample_of
from amlexec.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"x": 1}')
    for text in ('{"x": 1}', f"@{tmp_path}/x.json"):
        assert sample_of(text) == '{"x": 1}'
        assert body_of(argparse.Namespace(data=text)) == b'{"x": 1}'
    assert (sample_of(None), body_of(argparse.Namespace(data=None))) == ("", b"")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A body may be an image; a sample is shown on a page."""
    (tmp_path / "x").write_bytes(b"\xff")
    for text in ("\udcff", f"@{tmp_path}/x"):
        assert body_of(argparse.Namespace(data=text)) == b"\xff"
        with pytest.raises(UsageError, match="the sample is not text in UTF-8"):
            sample_of(text)


def test_no_file(tmp_path: Path) -> None:
    for read in (sample_of, lambda text: body_of(argparse.Namespace(data=text))):
        with pytest.raises(UsageError, match=r"/x can't be read: No such file or directory"):
            read(f"@{tmp_path}/x")
