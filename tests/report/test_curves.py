"""Curves as the page gets them: few points, always the same ones, nothing invented."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from amlexec.report.curves import curves_of, packed


def write_lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def unpacked(data: bytes) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """(step, value, time) of each curve, read as the page does."""
    size = struct.unpack_from("<I", data)[0]
    header = json.loads(data[4 : 4 + size])
    assert (4 + size) % 8 == 0
    steps_at = 4 + size
    values_at = steps_at + header["sizes"][0]
    times_at = values_at + header["sizes"][1]
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for run, entries in header["runs"].items():
        found[run] = {}
        for metric, count, base, scale, time, first, distance in entries:
            points = []
            values = struct.unpack_from(f"<{count}f", data, values_at)
            moves = struct.unpack_from(f"<{count}i", data, times_at)
            steps = [first + distance * at for at in range(count)] if first is not None else []
            if first is None:
                steps = list(struct.unpack_from(f"<{count}d", data, steps_at))
                steps_at += 8 * count
            values_at += 4 * count
            times_at += 4 * count
            for step, value, move in zip(steps, values, moves, strict=True):
                time += move / 1000
                points.append((step, base + scale * value, time))
            found[run][header["metrics"][metric]] = points
    return found


def test_points_survive_the_way_into_the_page(tmp_path: Path) -> None:
    loss = [
        {"name": "loss", "value": 2.0**-at, "time": 1.7e9 + 0.5 * at, "step": 10 * at} for at in range(50)
    ]
    large = [{"name": "large", "value": 1e300 * at, "time": 1.7e9, "step": at * at} for at in range(5)]
    close = [{"name": "close", "value": 1.7e9 + at, "time": 1.7e9 - 60 * at} for at in range(3)]
    path = write_lines(tmp_path / "metrics.jsonl", *loss, *large, *close)
    read = unpacked(packed([("a", curves_of(path, 100).curves), ("b", curves_of(path, 100).curves)]))
    assert list(read) == ["a", "b"]
    for curves in read.values():
        for name, logged in (("loss", loss), ("large", large), ("close", close)):
            for at, (step, value, time) in enumerate(curves[name]):
                assert step == logged[at].get("step", at)
                assert value == pytest.approx(logged[at]["value"], rel=1e-6)
                assert time == pytest.approx(logged[at]["time"], abs=0.002)


def test_long_series_keep_their_outline_and_their_gaps(tmp_path: Path) -> None:
    noise = random.Random(1)
    values: list[Any] = [noise.gauss(0, 1) for _ in range(10_000)]
    values[4_321], values[1_234], values[5_000], values[9_000] = 50.0, -50.0, "NaN", "Infinity"
    path = write_lines(
        tmp_path / "metrics.jsonl", *({"name": "x", "value": value, "time": 0} for value in values)
    )
    logged = curves_of(path, 200)
    data = packed([("r", logged.curves)])
    assert data == packed([("r", curves_of(path, 200).curves)])
    points = unpacked(data)["r"]["x"]
    assert len(points) <= 200
    steps = [int(step) for step, _, _ in points]
    assert steps == sorted(set(steps))
    assert {0, 4_321, 1_234, 9_999} <= set(steps)
    for step, value, _ in points:
        if isinstance(values[int(step)], float):
            assert value == pytest.approx(values[int(step)], abs=1e-5)
        else:
            assert not math.isfinite(value)
    assert any(not math.isfinite(value) for _, value, _ in points)
    assert logged.statistics["x"].logged == 10_000
    assert (logged.statistics["x"].lowest, logged.statistics["x"].highest) == (-50.0, 50.0)


def test_a_run_without_metrics_and_with_other_metrics(tmp_path: Path) -> None:
    assert curves_of(tmp_path / "absent", 100).curves == []
    lines = [{"name": "note", "value": text, "time": 0} for text in "ab"]
    logged = curves_of(write_lines(tmp_path / "metrics.jsonl", *lines), 100)
    assert (logged.curves, logged.others, logged.counts) == ([], {"note": "b"}, {"note": 2})


def test_a_list_of_numbers_is_a_curve_over_its_positions(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "metrics.jsonl",
        {"name": "losses", "value": [3, 1.5, "NaN", 0.5], "time": 1.7e9, "kind": "list"},
        {"name": "plain", "value": [1, 2], "time": 1.7e9},
        {"name": "words", "value": ["a", "b"], "time": 1.7e9},
        {"name": "mixed", "value": [1, True], "time": 1.7e9},
        {"name": "matrix", "value": [[1, 2], [3, 4]], "time": 1.7e9},
        {"name": "single", "value": [1], "time": 1.7e9},
        {"name": "twice", "value": [1, 2], "time": 1.7e9},
        {"name": "twice", "value": [3, 4], "time": 1.7e9},
    )
    found = curves_of(path, 100)
    assert list(found.statistics) == ["losses", "plain"]
    assert found.statistics["losses"] == (0.5, 0.5, 3.0, 4)
    (losses, plain) = unpacked(packed([("run", found.curves)]))["run"].values()
    assert [(step, time) for step, _, time in losses] == [(step, 1.7e9) for step in range(4)]
    assert [value for _, value, _ in plain] == [1, 2]
    assert found.others["twice"] == [3, 4]
