"""The wheel, outside a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import PATIENCE

ROOT = Path(__file__).parent.parent


def test_the_wheel_works_outside_a_checkout(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # Before the checkout, which the tests' environment has installed.
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / "project",
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    (tmp_path / "project").mkdir()
    assert call("-c", "import amlexec; print(amlexec.__file__)").stdout.startswith(str(site))
    assert call("-m", "amlexec", "init").returncode == 0
    done = call("-m", "amlexec", "lint")
    assert done.returncode == 0, done.stderr
    (tmp_path / "project/aml_config/local.compute").write_text("type: lcoal\n")
    assert "did you mean local?" in call("-m", "amlexec", "lint").stdout
    (tmp_path / "project/aml_config/local.compute").write_text("type: local\n")
    (tmp_path / "project/train.py").write_text("from amlexec.run import log\nlog('A', 1)\n")
    done = call("-m", "amlexec", "experiment", "submit", "-c", "local", "train.py")
    assert done.returncode == 0, done.stderr
    assert '"A": 1' in call("-m", "amlexec", "history", "last", "-o", "json").stdout
    done = call("-m", "amlexec", "history", "report", "-o", "report.html")
    assert done.returncode == 0, done.stderr
    assert b"uPlot" in (tmp_path / "project/report.html").read_bytes()
    assert (site / "amlexec/report/assets/uplot/LICENSE").is_file()
    done = call("-m", "doit", "submit:local", "script=train.py")
    assert done.returncode == 0, done.stderr
