"""Comparing two runs: outputs bit for bit, metrics within a tolerance."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.errors import TargetError
from amlexec.history import outputs_manifest
from amlexec.history.paths import RunPaths
from amlexec.history.verify import Difference, Verification, verify
from amlexec.history.verify_metrics import Tolerance, equal
from amlexec.values import NotCollected
from tests.support.records import RUN

if TYPE_CHECKING:
    from collections.abc import Callable

DONE = RUN._replace(status="Completed", exit_code=0)


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Verification]:
    """Compare the runs in the folders `one` and `other`."""
    for name in ("one", "other"):
        (tmp_path / name / "outputs").mkdir(parents=True)

    def compared(relative: float = 0.0, absolute: float = 0.0) -> Verification:
        one, other = RunPaths(tmp_path / "one"), RunPaths(tmp_path / "other")
        return verify(
            DONE._replace(run_id="one"),
            one,
            DONE._replace(run_id="other"),
            other,
            Tolerance(relative, absolute),
        )

    return compared


def log(folder: Path, *values: object, name: str = "loss", step: int | None = None) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        for value in values:
            stepped = {} if step is None else {"step": step}
            file.write(json.dumps({"name": name, "value": value, "time": 1.0, **stepped}) + "\n")


def test_equal_runs(tmp_path: Path, compare: Callable[..., Verification]) -> None:
    for folder in (tmp_path / "one", tmp_path / "other"):
        (folder / "outputs/below").mkdir()
        (folder / "outputs/below/a").write_bytes(b"\0" * 3_000_000)
        (folder / "outputs/b").symlink_to("below/a")
        log(folder, 1, 2.5, math.nan)
        log(folder, [1, [2.0, math.inf]], name="table")
    found = compare()
    assert found == Verification(2, 3_000_007, 2, ())


@pytest.mark.parametrize(
    ("one", "other", "at", "note"),
    [
        (b"abc", b"abd", 2, "byte 2 is 0x63, then 0x64"),
        (b"abc", b"ab", 2, "byte 2 is 0x63, then the end; 3 bytes, then 2"),
        (b"", b"x", 0, "byte 0 is the end, then 0x78; 0 bytes, then 1"),
        (b"\0" * 2_500_000 + b"1", b"\0" * 2_500_000 + b"2", 2_500_000, "byte 2500000 is 0x31, then 0x32"),
    ],
)
def test_the_first_byte_that_differs(
    tmp_path: Path, compare: Callable[..., Verification], one: bytes, other: bytes, at: int, note: str
) -> None:
    (tmp_path / "one/outputs/x").write_bytes(one)
    (tmp_path / "other/outputs/x").write_bytes(other)
    assert compare().differences == (Difference("output", "x", len(one), len(other), at, note),)
    # What a list of outputs says is enough to see that they differ.
    outputs_manifest_of(tmp_path / "one")
    (difference,) = compare().differences
    assert difference.name == "x"
    assert "sha256" in difference.note
    (tmp_path / "other/outputs/x").write_bytes(one)
    assert compare().differences == ()


def test_files_are_compared_in_little_memory(tmp_path: Path, compare: Callable[..., Verification]) -> None:
    size = 200_000_000
    for name, last in (("one", b"1"), ("other", b"2")):
        with (tmp_path / name / "outputs/large").open("wb") as file:
            file.seek(size - 1)
            file.write(last)
    tracemalloc.start()
    try:
        (difference,) = compare().differences
        (tmp_path / "one" / outputs_manifest.NAME).write_text(
            outputs_manifest.text_of(outputs_manifest.hashed(tmp_path / "one/outputs"))
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (difference.at, difference.note) == (size - 1, f"byte {size - 1} is 0x31, then 0x32")
    assert peak < 20_000_000


def outputs_manifest_of(folder: Path) -> None:
    """Replace the outputs of a run by the list of them."""
    (folder / outputs_manifest.NAME).write_text(
        outputs_manifest.text_of(outputs_manifest.hashed(folder / "outputs"))
    )
    for path in (folder / "outputs").iterdir():
        path.unlink()
    (folder / "outputs").rmdir()


def test_what_only_one_run_has(tmp_path: Path, compare: Callable[..., Verification]) -> None:
    (tmp_path / "one/outputs/a").write_text("1")
    (tmp_path / "other/outputs/b").symlink_to("c")
    (tmp_path / "one/outputs/d").symlink_to("x")
    (tmp_path / "other/outputs/d").symlink_to("y")
    (tmp_path / "one/outputs/e").write_text("")
    (tmp_path / "other/outputs/e").symlink_to("y")
    log(tmp_path / "one", 1, name="only")
    assert [(each.name, each.note) for each in compare().differences] == [
        ("a", "only in one"),
        ("b", "only in other"),
        ("d", "a link to another path"),
        ("e", "a file, then a link"),
        ("only", "only in the first run"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "note"),
    [
        ([1, 2, 3], [1, 2.5, 3], "value 1 is 2, then 2.5"),
        ([1], [1, 2], "1 value, then 2"),
        ([1, 2], [1, 2, 3], "2 values, then 3"),
        (["a"], ["b"], "value 0 is 'a', then 'b'"),
        ([True], [1], "value 0 is True, then 1"),
        ([math.nan], [0.5], "value 0 is NaN, then 0.5"),
        ([math.inf], [-math.inf], "value 0 is Infinity, then -Infinity"),
    ],
)
def test_metrics_that_differ(
    tmp_path: Path, compare: Callable[..., Verification], one: list[object], other: list[object], note: str
) -> None:
    log(tmp_path / "one", *one)
    log(tmp_path / "other", *other)
    (difference,) = compare().differences
    assert (difference.kind, difference.name, difference.note) == ("metric", "loss", note)


def test_a_step_is_named(tmp_path: Path, compare: Callable[..., Verification]) -> None:
    for step in range(3):
        log(tmp_path / "one", step, step=10 * step)
        log(tmp_path / "other", step + (step == 1), step=10 * step)
        log(tmp_path / "one", step, step=step, name="other")
    for step in (0, 2, 1):  # another order of names
        log(tmp_path / "other", step, step=step, name="other")
    assert [(each.name, each.at, each.note) for each in compare().differences] == [
        ("loss", 1, "step 10 is 1, then 2"),
        ("other", 1, "value 1 is of step 1, then of step 2"),
    ]


def test_the_tolerance_of_metrics(tmp_path: Path, compare: Callable[..., Verification]) -> None:
    log(tmp_path / "one", 100.0, [1.0, {"x": 10}], 10**400, math.nan)
    log(tmp_path / "other", 100.1, [1.0005, {"x": 10.001}], 10**400, math.nan)
    assert compare(relative=0.001).differences == ()
    assert compare(absolute=0.1001).differences == ()
    assert len(compare(relative=0.0009).differences) == 1


@given(st.floats() | st.integers() | st.booleans() | st.text(), st.floats(0, 1))
def test_a_value_equals_itself(value: object, tolerance: float) -> None:
    assert equal(value, value, Tolerance(tolerance, 0.0))


@pytest.mark.parametrize(
    "run",
    [
        DONE._replace(status="Running"),
        DONE._replace(outputs=None),
        DONE._replace(unread=("x",)),
        DONE._replace(not_collected=(NotCollected("outputs/x", "it is a FIFO"),)),
    ],
)
def test_a_run_that_is_not_whole_is_not_compared(tmp_path: Path, run: object) -> None:
    with pytest.raises(TargetError, match="can't be compared"):
        verify(DONE, RunPaths(tmp_path), run, RunPaths(tmp_path), Tolerance())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"../x": {"form": "file", "size": 1, "content": "' + "0" * 64 + '"}}',
        '{"/x": {"form": "link", "size": 1, "content": "y"}}',
        '{"x": {"form": "file", "size": 1, "content": "short"}}',
        '{"x": {"form": "pipe", "size": 1, "content": ""}}',
        '{"x": {"form": "file", "size": -1, "content": ""}}',
        "[" * 100_000,
    ],
)
def test_an_invalid_list_of_outputs(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        outputs_manifest.parsed(text)
