"""Reading metrics.jsonl, also a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amlexec.history import metric_lines
from tests.support.logged import Metrics, read_all


def line(name: str, value: object) -> str:
    return json.dumps({"name": name, "value": value, "time": 1.5}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_a_name_logged_again_becomes_a_list(path: Path) -> None:
    path.write_text(line("loss", 3) + line("accuracy", 0.9) + line("loss", 2) + line("loss", 1))
    assert read_all(path).values == {"loss": [3, 2, 1], "accuracy": 0.9}
    assert list(read_all(path).values) == ["loss", "accuracy"]


def test_a_list_stays_a_list(path: Path) -> None:
    path.write_text(line("once", [1, 2]) + line("twice", [1]) + line("twice", [2]))
    assert read_all(path).values == {"once": [1, 2], "twice": [[1], [2]]}


def test_a_run_that_logged_nothing(path: Path) -> None:
    assert read_all(path) == Metrics({}, 0)
    path.touch()
    assert read_all(path) == Metrics({}, 0)


@pytest.mark.parametrize(
    "garbage",
    [
        "hello\n",
        "[1, 2]\n",
        "{}\n",
        '{"name": 3, "value": 4}\n',
        '{"name": "no value"}\n',
        '{"name": "torn", "val\n',
        "[" * 100_000 + "\n",
    ],
)
def test_a_line_that_is_not_a_metric_is_counted_and_the_rest_read(path: Path, garbage: str) -> None:
    path.write_text(line("a", 1) + garbage + line("b", 2))
    assert read_all(path) == Metrics({"a": 1, "b": 2}, unreadable=1)


def test_bytes_that_are_not_text_are_counted(path: Path) -> None:
    path.write_bytes(line("a", 1).encode() + b"\xff\xfe\x00\x80\n" + line("b", 2).encode())
    assert read_all(path) == Metrics({"a": 1, "b": 2}, unreadable=1)


@pytest.mark.parametrize("length", range(1, len(line("b", 2)) - 1))
def test_a_torn_last_line_is_not_counted(path: Path, length: int) -> None:
    path.write_text(line("a", 1) + line("b", 2)[:length])
    assert read_all(path) == Metrics({"a": 1})


@pytest.mark.parametrize("length", range(1, len(line("b", 2)) - 1))
def test_the_metric_after_a_torn_one_is_not_lost(path: Path, length: int) -> None:
    path.write_text(line("a", 1) + line("b", 2)[:length] + line("c", {"name": 3}))
    assert read_all(path) == Metrics({"a": 1, "c": {"name": 3}}, unreadable=1)


def test_a_value_that_looks_like_a_line_is_a_value(path: Path) -> None:
    path.write_text(line("a", {"name": "x", "value": 3, "time": 4}) + line("b", line("c", 1)))
    assert read_all(path).values == {"a": {"name": "x", "value": 3, "time": 4}, "b": line("c", 1)}


def test_an_endless_line_is_skipped(path: Path) -> None:
    with path.open("wb") as file:
        file.write(line("a", 1).encode())
        file.truncate(metric_lines.LONGEST_LINE * 2 + 99)  # a hole, as a crashed file system leaves it
        file.seek(0, 2)
        file.write(b"\n" + line("b", 2).encode())
    assert read_all(path) == Metrics({"a": 1, "b": 2}, unreadable=1)


def test_a_folder_in_its_place_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        read_all(path)
