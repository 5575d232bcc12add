"""Scripts written for azureml.core, unchanged, in a run and outside; and what they can't have."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from amlexec.history.series import read_series
from tests.support.logged import read_all
from tests.support.site_scripts import SITE, TIMEOUT, environment, every_interpreter, interpreters, run

SCRIPTS = Path(__file__).parent / "azureml_scripts"
RUN_ID = "project_1521077190506"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def of_script(python: str, name: str, folder: Path | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    result = run(python, (SCRIPTS / name).read_text("utf-8"), folder, cwd)
    assert result.returncode == 0, result.stderr
    return result


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def tags(folder: Path) -> dict[str, str]:
    return {line["name"]: line["value"] for line in lines(folder, "tags.jsonl")}


@every_interpreter
def test_a_classifier(python: str, folder: Path, tmp_path: Path) -> None:
    result = of_script(python, "train_classifier.py", folder, tmp_path)
    assert result.stdout == "accuracy is 0.8\niris\tiris:1\t1\n"
    assert read_all(folder / "metrics.jsonl").values == {
        "regularization rate": 0.01,
        "accuracy": 0.8,
    }
    (model,) = lines(folder, "models.jsonl")
    del model["time"]
    assert len(model.pop("sha256")) == 64
    assert model == {
        "name": "iris",
        "version": 1,
        "path": "outputs/model.pkl",
        "tags": {"area": "flowers"},
        "properties": {"accuracy": 0.8},
    }
    assert (folder / "outputs/model.pkl").is_file()
    assert result.stderr == "amlexec: note: the model iris is registered when the run ends\n"


@every_interpreter
def test_a_callback_of_keras(python: str, folder: Path, tmp_path: Path) -> None:
    assert of_script(python, "keras_callback.py", folder, tmp_path).stderr == ""
    found = read_series(folder / "metrics.jsonl")
    assert [repr(value) for value in found["Loss"].values[1:3]] == ["0.36787944117144233", "nan"]
    assert [*found["Accuracy"].steps] == [0, 1, 2, 3]
    assert (found["layers"].kind, found["layers"].values) == ("list", [[64, 32, 10]])


@every_interpreter
def test_a_member_of_a_sweep(python: str, folder: Path, tmp_path: Path) -> None:
    assert of_script(python, "sweep_member.py", folder, tmp_path).stderr == ""
    found = read_all(folder / "metrics.jsonl").values
    assert found["best_val_acc"] == [0.9, 0.91, 0.92]
    assert found["training"] == [{"epoch": n, "lr": 0.1, "loss": 0.1 / (n + 1)} for n in range(3)]
    assert tags(folder) == {
        "experiment": "project",
        "lr": "0.1",
        "note": "",
        "properties.script": "sweep_member",
    }


@every_interpreter
def test_child_runs(python: str, folder: Path, tmp_path: Path) -> None:
    result = of_script(python, "cross_validation.py", folder, tmp_path)
    assert result.stdout == "101 children at once; 100 are the most\n"
    assert read_all(folder / "metrics.jsonl").values == {
        "fold0/score": 0.8,
        "fold1/score": 0.9,
        "fold2/score": 1.0,
        "mean score": 0.9,
        "4/loss": 0.1,
        "5/loss": 0.2,
    }
    assert tags(folder) == {
        "fold0/fold": "0",
        "fold1/fold": "1",
        "fold2/fold": "2",
        "4/seed": "1",
        "5/seed": "2",
    }


@every_interpreter
def test_tables_and_files(python: str, folder: Path, tmp_path: Path) -> None:
    result = of_script(python, "evaluate_model.py", folder, tmp_path)
    names = ["ROC curve.png", "report/a.txt", "report/more/b.txt", "sample.png", "stream.bin", "x.txt"]
    assert result.stdout.splitlines() == [f"outputs/{name}" for name in names]
    found = read_series(folder / "metrics.jsonl")
    assert {name: each.kind for name, each in found.items()} == {
        "confusion": "confusion_matrix",
        "roc": "accuracy_table",
        "residuals": "residuals",
        "predictions": "predictions",
        "importance": "table",
        "ROC curve": "image",
        "sample": "image",
    }
    assert found["confusion"].values[0]["data"]["matrix"] == [[3, 1], [0, 4]]
    assert found["ROC curve"].values == ["outputs/ROC curve.png"]
    outputs = folder / "outputs"
    assert {str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file()} == set(names)
    assert (folder / "outputs/ROC curve.png").read_bytes() == b"\x89PNGpng"


@every_interpreter
def test_three_loggers_in_one_script(python: str, folder: Path, tmp_path: Path) -> None:
    result = of_script(python, "workbench_to_core.py", folder, tmp_path)
    dataprep, workspace, model = result.stdout.splitlines()
    assert dataprep.startswith("azureml.dataprep is a part of Azure")
    assert dataprep.endswith("; read the data with pandas or pyspark")
    assert workspace.startswith("run.experiment.workspace.get_default_datastore is a part of Azure")
    assert model == "text:1"
    assert result.stderr == (
        "amlexec: note: the model text is registered when the run ends\n"
        "Run failed with error code None:\nonly a message\n"
    )
    assert read_all(folder / "metrics.jsonl").values == {
        "Regularization Rate": 0.01,
        "Accuracy": 0.97,
        "Samples": 150,
    }


# ---------------------------------------------------------------- outside a run


@every_interpreter
def test_outside_a_run_it_prints_as_the_sdk_does(python: str, tmp_path: Path) -> None:
    script = (
        "from azureml.core import Run\nrun = Run.get_context()\nassert run.id.startswith('OfflineRun_')\n"
    )
    script += "run.log('loss', 0.5)\nrun.log(name='loss', value=1, step=3)\nrun.log_list('l', [1])\n"
    script += "run.tag(name='a', value='b')\nrun.tag(key='c')\nrun.upload_files(name=['x'], paths=['y'])\n"
    script += "run.child_run('c').log_row('r', a=1)\nassert Run.get_context() is not run\n"
    script += "assert run.experiment.workspace.name and run.parent is None and run.get_metrics() == {}\n"
    result = run(python, script, None, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        *("Attempted to log scalar metric loss:", "0.5", "Attempted to log scalar metric loss:", "1"),
        *("Attempted to log list metric l:", "[1]"),
        *("Attempted to add tag a with value b", "Attempted to add tag c with value None"),
        "Attempted to track files ['x'] at ['y']",
        *("Attempted to log row metric r:", "{'a': 1}"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_offline_is_refused_if_the_script_says_so(tmp_path: Path) -> None:
    for call in ("get_context(allow_offline=False)", "get_submitted_run()"):
        script = "from azureml.core import Run\nfrom azureml.exceptions import RunEnvironmentException\n"
        script += f"try: Run.{call}\nexcept RunEnvironmentException as error: print(error)\n"
        result = run(interpreters()[0], script, None, tmp_path)
        assert result.stdout.startswith(
            "this script is not in a run: submit it with amlexec experiment submit"
        )


# ---------------------------------------------------------------- mistakes, and what is not there

MISTAKES = """
from azureml.core import Run
from azureml.exceptions import AzureMLException
run = Run.get_context()
for name in "ab":
    with open(name + ".txt", "w") as file: file.write(name)
run.upload_file("outputs/a.txt", "a.txt")
run.upload_file("outputs/a.txt", "a.txt")
for mistake in (
    lambda: run.log("x", [1]),
    lambda: run.log("x", (n for n in "ab")),
    lambda: run.log_row("r", a=[1]),
    lambda: run.log_table("t", {"a": [1], "b": [1, 2]}),
    lambda: run.log_table("t", 3),
    lambda: run.log_confusion_matrix("m", {"data": {}}),
    lambda: run.log_residuals("m", "{"),
    lambda: run.log_image("i"),
    lambda: run.log_image("i", "missing.png"),
    lambda: run.upload_file("outputs/a.txt", "b.txt"),
    lambda: run.upload_file("../a.txt", "b.txt"),
    lambda: run.upload_file("c.txt", "missing.txt"),
    lambda: run.upload_files(["a"], []),
    lambda: run.upload_folder("a", "missing"),
    lambda: run.download_file("missing.txt"),
    lambda: run.register_model("m", "missing.pkl"),
    lambda: run.create_children(),
    lambda: (run.add_properties({"p": 1}), run.add_properties({"p": 2})),
):
    try: mistake()
    except AzureMLException as error: print(str(error)[:60])
run.log_list("empty", [])
"""


def test_mistakes_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    result = run(interpreters()[0], MISTAKES, folder, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "the metric 'x' is a list: use log_list('x', …)",
        "the metric 'x' is a list: use log_list('x', …)",
        "the column 'a' of the row 'r' is a list: a cell is a single ",
        "the columns of the table 't' are not equally long",
        "the table 't' is not a dictionary of columns",
        "the metric 'm' needs a dictionary with schema_type, schema_v",
        "the metric 'm' is not JSON: Expecting property name enclosed",
        "log_image needs either a path or a plot",
        "[Errno 2] No such file or directory: 'missing.png'",
        "the run has a file 'outputs/a.txt' with other contents alrea",
        "'../a.txt' is not below outputs/: use a relative path, such ",
        "the file 'missing.txt' does not exist",
        "1 names for 0 paths",
        "the folder 'missing' does not exist",
        "the run has no file 'missing.txt'; it has outputs/a.txt",
        "the run has no file 'missing.pkl'; it has outputs/a.txt",
        "create_children needs either count, or tag_key and tag_value",
        "the property 'p' has another value already",
    ]
    assert not (folder / "metrics.jsonl").exists()


ABSENT = """
import copy, pickle
from azureml.core import *
from azureml.core.dataset import Dataset
from azureml.core.workspace import Workspace
run = Run.get_context()
copy.copy(run.experiment.workspace)
for use in (
    lambda: Workspace.from_config(),
    lambda: Workspace(),
    lambda: Dataset.get_by_name(run.experiment.workspace, "iris"),
    lambda: run.input_datasets["iris"],
    lambda: run.experiment.workspace.datasets,
    lambda: run.get_secret("key"),
    lambda: Experiment(None, "name"),
):
    try: use()
    except RuntimeError as error: print(error)
assert not hasattr(run, "submit_child")
for name in ("dataprep", "train.hyperdrive", "core.compute", "opendatasets", "new"):
    try: __import__("azureml." + name)
    except ImportError as error: print(error)
"""


@every_interpreter
def test_what_is_absent_says_what_to_do_instead(python: str, folder: Path, tmp_path: Path) -> None:
    result = run(python, ABSENT, folder, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    said = result.stdout.splitlines()
    assert len(said) == 12
    assert all(len(line) < 200 and ("; " in line) for line in said)
    assert said[2] == (
        "Dataset.get_by_name is a part of Azure, which amlexec runs scripts without; read the data by its "
        "path: put it into the project, or into the target's nativeSharedDirectory"
    )


def test_an_installed_part_of_azureml_comes_first(folder: Path, tmp_path: Path) -> None:
    """Each of our modules is taken only where there is no other."""
    installed = tmp_path / "installed"
    (installed / "azureml/dataprep").mkdir(parents=True)
    (installed / "azureml/dataprep/__init__.py").write_text("found = True\n")
    script = "from azureml.core import Run\nimport azureml.dataprep\nassert azureml.dataprep.found\n"
    script += "Run.get_context().log('x', 1)\n"
    (tmp_path / "train.py").write_text(script)
    variables = environment(folder, installed)
    python = interpreters()[0]
    done = subprocess.run([python, "train.py"], cwd=tmp_path, env=variables, timeout=TIMEOUT, check=False)
    assert done.returncode == 0
    assert read_all(folder / "metrics.jsonl").values == {"x": 1}
    assert os.fspath(SITE) in variables["PYTHONPATH"]


SDK = """
class Identity:
    def __init__(self, ident): self.ident = ident

class _OfflineRun(Identity):
    def __init__(self, run_id="OfflineRun_1"): super(_OfflineRun, self).__init__(run_id)
    @property
    def id(self): return self.ident
    def _emit(self, type, name, value): print("SDK", type, name, value)
    def log(self, name, value, description=""): self._emit("scalar", name, value)
    def log_row(self, name, description=None, **kwargs): self._emit("row", name, kwargs)
    def log_residuals(self, name, value, description=None): self._emit("residual", name, value)
    def log_image(self, name, path=None, plot=None, description=""): self._emit("image", name, plot or path)
    def tag(self, name, value=None): print("SDK tag")
    def set_tags(self, tags): print("SDK tags")
    def add_properties(self, properties): print("SDK properties")
    def upload_file(self, name, path_or_stream, datastore_name=None): print("SDK file")
    def upload_files(self, name, paths, return_artifacts=False): print("SDK files")
    def upload_folder(self, name, path, datastore_name=None): print("SDK folder")
    def child_run(self, name): return _OfflineRun(self.id + "." + name)

class Run:
    @staticmethod
    def get_context(): return _OfflineRun()
"""
OF_THE_SDK = """
import os
from azureml.core import Run
run = Run.get_context()
run.log("loss", 0.5)
run.log("loss", 0.25, step=7)
run.log_row("row", a=1)
run.log_residuals("res", {"data": {}})
run.log_image("none", path="missing.png")
run.tag("a", "b")
run.set_tags({"c": 1, "d": None})
run.add_properties({"e": "f"})
os.mkdir("report")
for name in ("report/x.txt", "plot.png"):
    with open(name, "w") as file: file.write(name)
run.log_image("plot", path="plot.png")
run.upload_file("outputs/x.txt", "report/x.txt")
run.upload_file("missing", "missing")
run.upload_files(["y.txt"], ["report/x.txt"])
run.upload_folder("outputs/all", "report")
run.child_run("fold1").log("loss", 1)
"""


@every_interpreter
def test_an_installed_sdk_prints_and_is_recorded(python: str, folder: Path, tmp_path: Path) -> None:
    """The SDK's runs outside Azure, whose class the text above has in short."""
    installed = tmp_path / "installed/azureml/core"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("from .run import Run\n")
    (installed / "run.py").write_text(SDK)
    (tmp_path / "train.py").write_text(OF_THE_SDK)
    variables = environment(folder, installed.parents[1])
    done = subprocess.run(
        [python, "train.py"], cwd=tmp_path, env=variables, timeout=TIMEOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "SDK scalar loss 0.5\n" in done.stdout
    assert done.stderr.startswith("amlexec: warning: missing could not be kept: ")
    assert read_all(folder / "metrics.jsonl").values == {
        "loss": [0.5, 0.25],
        "row": {"a": 1},
        "res": {"data": {}},
        "plot": "outputs/plot.png",
        "fold1/loss": 1,
    }
    assert [*read_series(folder / "metrics.jsonl")["loss"].steps] == [0, 7]
    assert tags(folder) == {"a": "b", "c": "1", "d": "", "properties.e": "f"}
    outputs = folder / "outputs"
    kept = {str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file()}
    assert kept == {"all/x.txt", "plot.png", "x.txt", "y.txt"}
