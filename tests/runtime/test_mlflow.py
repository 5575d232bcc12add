"""A script that logs with the real client of MLflow, in a run: what it logs is in the record."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.history.series import read_series
from amlexec.history.tags import merged
from tests.support.site_scripts import SITE

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

SCRIPT = """
import mlflow

with mlflow.start_run(run_name="first"):
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"optimizer": "adam", "layers": 3})
    for step, value in enumerate((0.5, float("nan"), float("inf"))):
        mlflow.log_metric("loss", value, step=step * 10)
    mlflow.log_metrics({"accuracy": 0.9})
    mlflow.set_tag("data", "v2")
    mlflow.log_text("3 classes", "report/summary.txt")
print(mlflow.get_tracking_uri())
"""


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed: pip install -e '.[test]'")
def test_what_mlflow_logs_is_in_the_record(project: ProjectFolder) -> None:
    project.write("aml_config/local.compute", f"type: local\npythonLocation: {sys.executable}\n")
    project.write("train.py", SCRIPT)
    done = project.amlexec("experiment", "submit", "-c", "local", "train.py")
    assert done.code == 0, done.err
    view = json.loads(project.amlexec("history", "last", "-o", "json").out)
    assert view["metrics"] == {
        "accuracy": 0.9,
        "loss": "Infinity",
        "layers": 3,
        "lr": 0.1,
        "optimizer": "adam",
    }
    assert view["metric_counts"]["loss"] == 3
    folder = project.root / ".amlexec/runs" / view["run_id"]
    loss = read_series(folder / "metrics.jsonl")["loss"]
    assert ([*loss.steps], [repr(value) for value in loss.values]) == ([0, 10, 20], ["0.5", "nan", "inf"])
    assert 1.5e9 < loss.times[0] < 1e10
    assert merged({}, (folder / "tags.jsonl").read_bytes()) == {"data": "v2"}
    (artifact,) = (folder / "outputs/mlruns").rglob("summary.txt")
    assert artifact.read_text() == "3 classes"


def test_another_address_is_left_alone(tmp_path: Path) -> None:
    """A package of that name, which prints what MLflow would see."""
    (tmp_path / "mlflow.py").write_text("import os\nprint(os.environ.get('MLFLOW_TRACKING_URI'))\n")
    script = "import mlflow, json, sys\nassert not [one for one in sys.meta_path if 'Mlflow' in repr(one)]\n"

    def printed(**variables: str) -> str:
        environment = {"PYTHONPATH": f"{SITE}:{tmp_path}", **variables}
        return subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).strip()

    assert printed() == "None"
    assert printed(AMLEXEC_RUN_FOLDER="/a b/run") == "file:///a%20b/run/outputs/mlruns"
    assert printed(AMLEXEC_RUN_FOLDER="/run", MLFLOW_TRACKING_URI="http://host") == "http://host"
