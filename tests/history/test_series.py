"""Series of metrics: read exactly, in bounded memory, and thinned without inventing anything."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.history import downsample, metrics, series
from amlexec.history.series import Series, downsampled, read_series
from tests.support.logged import read_all


def line(name: str, value: object, **more: object) -> str:
    return json.dumps({"name": name, "value": value, **more}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def only(path: Path) -> Series:
    (found,) = read_series(path).values()
    return found


def test_steps_times_and_values_of_several_names(path: Path) -> None:
    path.write_text(
        line("loss", 3, time=1.5, step=10)
        + line("accuracy", 0.5, time=1.6)
        + line("loss", 2, step=20)
        + line("accuracy", True, time=1.8)
        + line("loss", None, time=2.0, step=30)
    )
    found = read_series(path)
    assert list(found) == ["loss", "accuracy"]
    loss, accuracy = found.values()
    assert (loss.kind, [*loss.steps], [*loss.times]) == ("scalar", [10, 20, 30], [1.5, 1.6, 2.0])
    assert (loss.values[:2].tolist(), math.isnan(loss.values[2])) == ([3.0, 2.0], True)
    assert ([*accuracy.steps], [*accuracy.times], [*accuracy.values]) == ([0, 1], [1.6, 1.8], [0.5, 1.0])


def test_fractional_steps(path: Path) -> None:
    path.write_text(line("loss", 3, time=1, step=0) + line("loss", 2, step=0.5) + line("loss", 1, step=1))
    assert [*only(path).steps] == [0.0, 0.5, 1.0]


def test_what_json_lacks(path: Path) -> None:
    path.write_text(
        line("x", "NaN", time=1)
        + line("x", "Infinity")
        + line("x", "-Infinity")
        + '{"name": "x", "value": NaN}\n{"name": "x", "value": -1e999}\n'
    )
    assert [repr(value) for value in only(path).values] == ["nan", "inf", "-inf", "nan", "-inf"]
    assert metrics.summary(path).values == {"x": "-Infinity"}


def test_other_kinds(path: Path) -> None:
    path.write_text(
        line("phase", "train", time=1)
        + line("layers", [1, 2], time=2)
        + line("best", {"epoch": 2}, time=3)
        + line("plot", "outputs/plot.png", time=4, kind="image")
        + line("plot", "outputs/plot_2.png", time=5, kind="image", step=7)
        + line("odd", 3, time=6)
        + line("odd", "three", time=7)
        + line("odd", 4, time=8)
    )
    found = read_series(path)
    assert {name: each.kind for name, each in found.items()} == {
        "phase": "text",
        "layers": "list",
        "best": "row",
        "plot": "image",
        "odd": "mixed",
    }
    assert found["best"].values == [{"epoch": 2}]
    assert (found["plot"].values, found["plot"].steps) == (["outputs/plot.png", "outputs/plot_2.png"], [0, 7])
    assert (found["odd"].values, found["odd"].times) == ([3, "three", 4], [6, 7, 8])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (line("x", 1, time="noon", step="one", kind=3), 1.0),
        (line("x", 1, time=1e400, step=[], kind="k" * 999), 1.0),
        ('{"name": "x", "value": 1, "time": 1' + "0" * 400 + ', "step": 1' + "0" * 400 + "}\n", 1.0),
        ('{"name": "x", "value": 1' + "0" * 400 + "}\n", 10**400),
    ],
)
def test_strange_fields_cost_only_themselves(path: Path, text: str, value: object) -> None:
    path.write_text(text)
    found = only(path)
    assert ([*found.values], [*found.steps], math.isnan(found.times[0])) == ([value], [0], True)


def test_every_record_of_it_is_strict_json(path: Path) -> None:
    path.write_text('{"name": "x", "value": {"a": [NaN, 1e999]}}\n{"name": "y", "value": Infinity}\n')
    assert metrics.summary(path).values == {"x": {"a": ["NaN", "Infinity"]}, "y": "Infinity"}


@given(st.lists(st.sampled_from([*"[]{},:", '"a"', "1", "2.5", '{"name":"x","value":1}', "\n", "}\n{"])))
def test_lines_are_never_read_together(pieces: list[str]) -> None:
    """Lines are parsed in blocks: the result is that of each line alone."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        path.write_text('{"name":"first","value":1}\n' + "".join(pieces) + "\n")
        alone = []
        for each in path.read_text().split("\n"):
            path.write_text(each + "\n")
            alone.append(len(read_all(path).values))
        path.write_text('{"name":"first","value":1}\n' + "".join(pieces) + "\n")
        read = read_all(path).values
        assert set(read) <= {"first", "x"}
        logged = sum(len(value) if isinstance(value, list) else 1 for value in read.values())
        assert logged >= sum(alone)


# ---------------------------------------------------------------- many points


MILLION = r"""
import re, sys
from pathlib import Path
from amlexec.history.series import downsampled, read_series

found = read_series(Path(sys.argv[1]))
print(sum(len(each.values) for each in found.values()), sum(each.logged for each in found.values()))
print(max(len(downsampled(each, 500).values) for each in found.values()))
# Not `ru_maxrss`, which a process has from its parent.
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def test_a_million_points_are_all_read(path: Path) -> None:
    """Rows in are rows out, in bounded memory."""
    with path.open("w") as file:
        file.writelines(f'{{"name":"loss","value":{at / 7},"step":{at}}}\n' for at in range(1_000_000))
    result = subprocess.run(
        [sys.executable, "-c", MILLION, str(path)], capture_output=True, text=True, check=True
    )
    counts, shown, megabytes = result.stdout.splitlines()
    assert counts == "1000000 1000000"
    assert 490 < int(shown) <= 500
    assert int(megabytes) < 100


def test_a_longer_file_is_thinned_and_keeps_its_outline(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "MOST_POINTS", 1000)
    random.seed(3)
    values = [random.random() for _ in range(20_000)]
    values[7_000], values[13_000] = -5.0, 5.0
    with path.open("w") as file:
        file.writelines(line("loss", value, step=step) for step, value in enumerate(values))
        file.write(line("few", 1) + line("few", 2))
    found = read_series(path)
    loss = found["loss"]
    assert (loss.logged, [*found["few"].values]) == (20_000, [1.0, 2.0])
    assert 400 < len(loss.values) <= 1000
    pairs = dict(zip(map(int, loss.steps), loss.values, strict=True))
    assert all(values[step] == value for step, value in pairs.items())
    assert {0, 7_000, 13_000, 19_999} <= set(pairs)
    # Old parts are not much coarser than new ones.
    early, late = (sum(start <= step < start + 8_000 for step in pairs) for start in (0, 12_000))
    assert late < early * 3


def test_large_values_drop_the_oldest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "_MOST_BYTES", 4_000)
    with path.open("w") as file:
        file.writelines(line("text", str(at) * 500) for at in range(10))
    found = only(path)
    assert (found.logged, found.steps[-1], found.values[-1]) == (10, 9, "9" * 500)
    assert 5 < len(found.values) < 10


# ---------------------------------------------------------------- downsampled


def scalars(values: list[float]) -> Series:
    from array import array

    steps = array("q", range(len(values)))
    return Series("x", "scalar", steps, array("d", steps), array("d", values), len(values))


@given(
    st.lists(st.floats(width=32) | st.just(math.nan) | st.just(math.inf), max_size=300),
    st.integers(downsample.FEWEST, 120),
)
def test_downsampled_keeps_what_matters(values: list[float], points: int) -> None:
    whole = scalars(values)
    found = downsampled(whole, points)
    assert len(found.values) <= points
    assert [*found.steps] == sorted(set(found.steps))
    assert all(
        repr(values[int(step)]) == repr(value) for step, value in zip(found.steps, found.values, strict=True)
    )
    again = downsampled(whole, points)
    assert (again.steps.tobytes(), again.values.tobytes()) == (found.steps.tobytes(), found.values.tobytes())
    if values:
        assert {0, len(values) - 1} <= set(found.steps)
    numbers = [value for value in values if math.isfinite(value)]
    if numbers:
        assert {min(numbers), max(numbers)} <= set(found.values)
    if len(numbers) < len(values):
        assert any(not math.isfinite(value) for value in found.values)


def test_a_gap_stays_a_gap() -> None:
    values = [float(at) for at in range(1000)]
    values[300:600] = [math.nan] * 300
    found = downsampled(scalars(values), 60)
    nans = [step for step, value in zip(found.steps, found.values, strict=True) if value != value]
    assert nans
    assert not [step for step in found.steps if min(nans) < step < max(nans) and step not in nans]


def test_other_kinds_are_spaced_evenly() -> None:
    found = downsampled(Series("x", "text", range(100), range(100), [*map(str, range(100))], 100), 5)
    assert (found.values, found.steps) == (["0", "24", "49", "74", "99"], [0, 24, 49, 74, 99])


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="5 are the fewest"):
        downsampled(scalars([1.0]), 4)
