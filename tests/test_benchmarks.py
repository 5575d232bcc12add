"""The benchmarks run: with one round and little to do, each yields figures.

They are called in this process, which has imported already what they need; what they time are processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.timing import Figure, Row

ROOT = Path(__file__).parent.parent
ROWS = {
    "submit": 4,
    "rerun": 2,
    "sweep": 5,
    "lint": 2,
    "history": 10,
    "report": 2,
    "logging": 3,
    "gc": 4,
    "snapshot": 4,
    "serving": 22,
    "docker": 7,
    "ssh": 8,
    "slurm": 3,
    "spark": 3,
}
PARTS = {
    "report": ("chromium",),
    "docker": ("base_image", "channel"),
    "ssh": ("ssh_image", "channel"),
    "slurm": ("slurm_image",),
    "spark": ("ssh_image", "channel", "spark_parts"),
}


def test_every_benchmark_is_tested() -> None:
    assert set(ROWS) == set(BENCHMARKS)


@pytest.mark.parametrize("name", ROWS)
def test_a_benchmark_prints_rows(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in PARTS.get(name, ()):
        request.getfixturevalue(part)
    assert main([name, "--small", "--pairs", "1", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    (kept,) = tmp_path.glob("*.json")
    rows = json.loads(kept.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == ROWS[name]
    for row in rows:
        assert row["ours"] > 0
        assert row["unit"] > 0
        assert row["name"] in printed
        # A tool that isn't installed is named too.
        assert row["peer_name"] in printed
        if row["peer"] is None and row["peer_name"]:
            assert "absent" in printed


def test_an_unknown_benchmark() -> None:
    command = [sys.executable, "-m", "benchmarks", "sumbit"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "'sumbit'" in done.stderr


@pytest.mark.parametrize(
    ("kind", "value", "most", "unit", "is_met"),
    [
        ("ratio", 0.5, 0.5, 30.0, True),
        ("ratio", 0.6, 0.5, 30.0, False),
        # 100 ms are 5 bare Pythons here, and 50 ms where a bare Python takes 10.
        ("ms", 100.0, 60.0, 20.0, True),
        ("more ms", 130.0, 60.0, 20.0, False),
        ("ms", 1.0, None, 10.0, None),
        ("ratio", None, 0.5, 10.0, None),
    ],
)
def test_milliseconds_are_compared_with_a_bare_python(
    kind: str, value: float | None, most: float | None, unit: float, is_met: bool | None
) -> None:
    row = Row("row", 100.0, "peer", None, value, Figure(kind, most), unit, 1)
    assert row.is_met is is_met
