"""doit's state: files of doit's own backend are read, and no problem with the file is an error."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from doit.dependency import JSONCodec, SqliteDB

from amlexec.doit_state import StateDB

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "aml_config").mkdir()
    return tmp_path / ".amlexec" / "doit.db"


def opened(file: Path) -> StateDB:
    return StateDB(str(file), JSONCodec())


def test_values_are_saved(file: Path) -> None:
    state = opened(file)
    assert (state.get("a", "x"), state.in_("a")) == (None, False), "a lookup adds no value"
    state.set("a", "x", {"größe": [1, None]})
    state.set("b", "x", "1")
    state.set("b", "y", "2")
    state.remove("b")
    state.set("b", "y", "3")
    state.dump()
    state = opened(file)
    assert state.get("a", "x") == {"größe": [1, None]}
    assert (state.get("b", "x"), state.get("b", "y")) == (None, "3")
    state.remove_all()
    assert not state.in_("a")
    assert not opened(file).in_("a")


def test_the_format_is_that_of_doit(file: Path) -> None:
    state = opened(file)
    state.set("a", "deps:", ["x"])
    state.dump()
    theirs = SqliteDB(str(file), JSONCodec())
    assert theirs.get("a", "deps:") == ["x"]
    theirs.set("b", "deps:", ["y"])
    theirs.dump()
    assert opened(file).get("b", "deps:") == ["y"]


@pytest.mark.parametrize("data", ["{", "[1]", "1", "", None, b"\xff"])
def test_a_damaged_row(file: Path, data: str | bytes | None) -> None:
    state = opened(file)
    state.set("a", "x", "1")
    state.dump()
    with sqlite3.connect(file) as there:
        there.execute("update doit set task_data=?", (data,))
    there.close()
    assert not opened(file).in_("a")


def test_it_is_not_locked_between_reading_and_saving(file: Path) -> None:
    state = opened(file)
    state.set("a", "x", "1")
    state.get("b", "x")
    state.remove("b")
    other = sqlite3.connect(file, timeout=0)
    other.execute("begin exclusive")
    other.rollback()
    other.close()
    state.dump()


def test_an_overwritten_page(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = opened(file)
    for number in range(500):
        state.set(str(number), "x", "y" * 100)
    state.dump()
    with file.open("r+b") as there:
        there.seek(3 * 4096)
        there.write(b"\xff" * 4096)
    assert not opened(file).in_("1")
    assert "doit's state was damaged" in capsys.readouterr().err
    assert file.with_name("doit.db.damaged").exists()
