"""doit's state: files of doit's own backend are read, and no problem with the file is an error."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from doit.dependency import JSONCodec, SqliteDB

from amlexec.doit_state import StateDB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "aml_config").mkdir()
    return tmp_path / ".amlexec" / "doit.db"


@pytest.fixture
def opened(file: Path) -> Iterator[Callable[[], StateDB]]:
    """Open the state; it is closed at the end."""
    with contextlib.ExitStack() as at_the_end:

        def open_it() -> StateDB:
            state = StateDB(str(file), JSONCodec())
            at_the_end.callback(state.dump)
            return state

        yield open_it


def test_values_are_saved(opened: Callable[[], StateDB]) -> None:
    state = opened()
    assert (state.get("a", "x"), state.in_("a")) == (None, False), "a lookup adds no value"
    state.set("a", "x", {"größe": [1, None]})
    state.set("b", "x", "1")
    state.set("b", "y", "2")
    state.remove("b")
    state.set("b", "y", "3")
    state.dump()
    state = opened()
    assert state.get("a", "x") == {"größe": [1, None]}
    assert (state.get("b", "x"), state.get("b", "y")) == (None, "3")
    state.remove_all()
    assert not state.in_("a")
    assert not opened().in_("a")


def test_the_format_is_that_of_doit(file: Path, opened: Callable[[], StateDB]) -> None:
    state = opened()
    state.set("a", "deps:", ["x"])
    state.dump()
    theirs = SqliteDB(str(file), JSONCodec())
    assert theirs.get("a", "deps:") == ["x"]
    theirs.set("b", "deps:", ["y"])
    theirs.dump()
    assert opened().get("b", "deps:") == ["y"]


@pytest.mark.parametrize("data", ["{", "[1]", "1", "", None, b"\xff"])
def test_a_damaged_row(file: Path, opened: Callable[[], StateDB], data: str | bytes | None) -> None:
    state = opened()
    state.set("a", "x", "1")
    state.dump()
    with sqlite3.connect(file) as there:
        there.execute("update doit set task_data=?", (data,))
    there.close()
    assert not opened().in_("a")


def test_it_is_not_locked_between_reading_and_saving(file: Path, opened: Callable[[], StateDB]) -> None:
    state = opened()
    state.set("a", "x", "1")
    state.get("b", "x")
    state.remove("b")
    other = sqlite3.connect(file, timeout=0)
    other.execute("begin exclusive")
    other.rollback()
    other.close()
    state.dump()


def test_an_overwritten_page(
    file: Path, opened: Callable[[], StateDB], capsys: pytest.CaptureFixture[str]
) -> None:
    state = opened()
    for number in range(500):
        state.set(str(number), "x", "y" * 100)
    state.dump()
    with file.open("r+b") as there:
        there.seek(3 * 4096)
        there.write(b"\xff" * 4096)
    assert not opened().in_("1")
    assert "doit's state was damaged" in capsys.readouterr().err
    assert file.with_name("doit.db.damaged").exists()
