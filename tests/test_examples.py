"""Each example does what it says: its own `verify` is run, and a broken example is told apart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(path.parent for path in (Path(__file__).parent.parent / "examples").glob("*/verify"))


def verify(example: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [str(example / "verify")],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_verify_passes_and_leaves_the_example_alone(example: Path, tmp_path: Path) -> None:
    copy = tmp_path / "with a blank" / example.name
    shutil.copytree(example, copy, ignore=shutil.ignore_patterns(".amlexec", "__pycache__"))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    done = verify(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_verify_fails_where_a_run_brings_home_something_else(tmp_path: Path) -> None:
    iris = next(path for path in EXAMPLES if path.name == "iris")
    copy = tmp_path / "iris"
    shutil.copytree(iris, copy, ignore=shutil.ignore_patterns(".amlexec", "__pycache__"))
    script = copy / "train.py"
    script.write_text(script.read_text(encoding="utf-8").replace("SEED = 0", "SEED = 1"), encoding="utf-8")
    done = verify(copy)
    assert done.returncode == 1
    assert "verify: the first run's accuracy is" in done.stderr
