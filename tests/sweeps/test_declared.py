"""Declared sweeps: the `Sweep` section of a run configuration, and jobs of Azure Machine Learning."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from amlexec.config import load as config
from amlexec.errors import ConfigurationError
from amlexec.search.domains import Range
from amlexec.sweeps import azure_job
from tests.sweeps.test_sweep import Swept

RUNCONFIG = """\
Target: local
Framework: Python
ArgumentVector: [train.py, --rate, '${{search_space.lr}}']
Sweep:
"""


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    return Swept(tmp_path / "iris")


def declare(swept: Swept, section: str) -> None:
    swept.write(
        "aml_config/local.runconfig", RUNCONFIG + "".join(f"  {line}\n" for line in section.splitlines())
    )


def listed(swept: Swept, *arguments: str) -> list[dict[str, Any]]:
    done = swept.sweep("--dry-run", "-o", "json", *arguments)
    assert done.code == 0, done.err
    return [point["parameters"] for point in json.loads(done.out)]


def test_a_section_is_a_sweep(swept: Swept) -> None:
    declare(
        swept,
        "Parameters:\n  lr: [0.1, 1e-2, '3']\n  depth: 2..3\n  name: x\n"
        "Metric: accuracy\nGoal: maximize\nJobs: 2",
    )
    assert swept.amlexec("lint").code == 0
    found = listed(swept)
    assert found[0] == {"lr": 0.1, "depth": 2, "name": "x"}
    assert [point["lr"] for point in found] == [0.1, 0.1, 0.01, 0.01, "3", "3"]
    # The command line overrides it, part by part.
    assert listed(swept, "--random", "2", "--seed", "1", "train.py", "--lr", "5,6,7")[0].keys() == {"lr"}
    assert len(listed(swept, "--random", "2")) == 2
    done = swept.sweep("-j", "3")
    assert done.code == 0, done.err
    assert swept.calls()[0] == (1, ["--rate", "0.1", "--depth", "2", "--name", "x"])
    assert swept.status()["metric"] == "accuracy"


def test_a_section_with_a_list_and_all_settings(swept: Swept) -> None:
    swept.write("points.csv", "lr\n1\n2\n")
    declare(
        swept, "List: points.csv\nMetric: m\nGoal: minimize\nEarlyStop: median\nFailFast: true\nTimeout: 60"
    )
    assert listed(swept) == [{"lr": 1}, {"lr": 2}]
    section = config.load_sweep(config.find_project(swept.root), "local")
    assert (section.early_stop, section.fail_fast, section.timeout, section.jobs) == ("median", True, 60, 0)


@pytest.mark.parametrize(
    ("section", "place", "message"),
    [
        ("Parameters:\n  lr: 6..2", "6:9", "lr: the range 6..2 ends before it begins"),
        ("Parameters:\n  lr: 0.0..1.0", "6:9", "error: lr has no steps"),
        ("Parameters:\n  lr: []", "6:9", "Sweep.Parameters.lr"),
        ("Parameters:\n  lr:", "6:8", "'lr' has no values"),
        ("Parameters: {a: [1]}\nList: points.csv", "6:9", "either from List or from Parameters"),
        ("Search: random\nParameters: {a: [1]}", "5:11", "a random search needs Points"),
        ("Metric: m", "5:11", "Metric needs Goal"),
        ("EarlyStop: medain\nMetric: m\nGoal: minimize", "5:14", "there is no rule 'medain'"),
        ("EarlyStop: median", "5:14", "EarlyStop needs Metric"),
        ("Goal: larger\nMetric: m", "5:9", "Sweep.Goal"),
        ("Jobs: many", "5:9", "Sweep.Jobs"),
        ("Metirc: m", "5:3", "unknown key 'Metirc' in Sweep"),
        ("Parameters:\n  l r: [1]", "6:5", "l r"),
    ],
)
def test_what_is_wrong_in_a_section_has_its_place(
    swept: Swept, section: str, place: str, message: str
) -> None:
    declare(swept, section)
    done = swept.amlexec("lint")
    assert done.code == 3
    assert any(
        f"local.runconfig:{place}: error: " in line and message in line for line in done.out.splitlines()
    ), done.out


JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json
type: sweep
display_name: lightgbm-iris
sampling_algorithm:
  type: random
  seed: 7
search_space:
  lr:
    type: loguniform
    min_value: -6.9
    max_value: 0
  depth:
    type: choice
    values: [2, "3", deep]
  units:
    type: randint
    upper: 10
  drop:
    type: quniform
    min_value: 0.12
    max_value: 0.5
    q: 0.1
  momentum:
    type: uniform
    min_value: 0
    max_value: 1
objective:
  goal: Minimize
  primary_metric: loss
early_termination:
  type: bandit
  slack_factor: 0.1
  evaluation_interval: 2
  delay_evaluation: 4
limits:
  max_total_trials: 4
  max_concurrent_trials: 2
  timeout: 7200
  trial_timeout: 600
inputs:
  epochs: 3
  data:
    type: uri_file
    path: data/iris.csv
compute: azureml:cpu-cluster
trial:
  code: .
  command: >-
    python train.py
    --epochs ${{inputs.epochs}} --data ${{inputs.data}}
    --lr ${{search_space.lr}}
  environment: azureml:AzureML-sklearn@latest
"""


def job(swept: Swept, text: str) -> azure_job.AzureJob:
    swept.write("data/iris.csv", "1\n")
    swept.write("sweep.yml", text)
    return azure_job.read(config.find_project(swept.root), swept.root / "sweep.yml")


def test_a_job_of_azure_is_read_as_it_stands(swept: Swept) -> None:
    found = job(swept, JOB)
    assert found.script == "train.py"
    assert found.arguments == ("--epochs", "3", "--data", "data/iris.csv", "--lr", "${{search_space.lr}}")
    section = found.section
    assert (section.search, section.seed, section.points, section.jobs) == ("random", 7, 4, 2)
    assert (section.metric, section.goal, section.timeout, section.run_timeout) == (
        "loss",
        "minimize",
        7200,
        600,
    )
    assert section.early_stop == "bandit:slack_factor=0.1,interval=2,delay=4"
    domains = dict(section.parameters)
    lr, drop = domains["lr"], domains["drop"]
    assert isinstance(lr, Range)
    assert isinstance(drop, Range)
    assert lr.is_log
    assert (float(lr.low), float(lr.high)) == (pytest.approx(math.exp(-6.9)), 1.0)
    assert [drop.at(index).value for index in range(drop.size or 0)] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert domains["units"].size == 10
    assert [domains["depth"].at(index).value for index in range(3)] == [2, "3", "deep"]  # type: ignore[union-attr]
    assert "environment, compute: ignored" in found.notes[0]


def test_a_job_of_azure_runs(swept: Swept) -> None:
    job(swept, JOB)
    done = swept.sweep("--job", "sweep.yml")
    assert done.code == 0, done.err
    assert len(swept.calls()) == 4
    words = swept.calls()[0][1]
    assert words[:4] == ["--epochs", "3", "--data", "data/iris.csv"]
    assert words[4::2] == ["--lr", "--depth", "--units", "--drop", "--momentum"]
    assert 0.001 <= float(words[5]) <= 1


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("type: sweep", "type: command", "this is not a sweep job: its type is command"),
        ("type: uniform", "type: normal", "momentum: the type normal can't be searched here"),
        ("upper: 10", "upper: ten", "upper is ten; expected a number"),
        ("goal: Minimize", "goal: less", "objective.goal is less"),
        ("type: bandit", "type: luck", "early_termination.type is luck"),
        ("slack_factor: 0.1", "slack_factor: 0.1\n  slack_amount: 2", "either slack_factor or slack_amount"),
        ("path: data/iris.csv", "path: azureml:iris:1", "${{inputs.data}} is not a number, a text or a file"),
        ("python train.py", "python train.py &&", "trial.command has the shell's operator &&"),
        ("python train.py", "Rscript train.R", "trial.command does not run a Python script"),
        ("python train.py", "python absent.py", "there is no script 'absent.py'"),
        ("code: .", "code: https://github.com/a/b", "trial.code is https://github.com/a/b"),
        ("max_total_trials: 4", "max_total_trials: x", "limits.max_total_trials is x"),
        ("  max_total_trials: 4\n", "", "limits.max_total_trials is missing"),
        ("min_value: 0.12", "min_value: 0.9", "drop: min_value is above max_value"),
        ("type: random", "type: evolution", "sampling_algorithm is evolution"),
    ],
)
def test_what_a_job_asks_for_in_vain_has_its_place(
    swept: Swept, before: str, after: str, message: str
) -> None:
    assert before in JOB
    with pytest.raises(ConfigurationError) as error:
        job(swept, JOB.replace(before, after))
    assert message in error.value.message
    assert error.value.where.startswith(f"{swept.root}/sweep.yml:")


def test_the_spelling_of_azure_with_texts(swept: Swept) -> None:
    grid = JOB.replace("sampling_algorithm:\n  type: random\n  seed: 7\n", "sampling_algorithm: grid\n")
    assert job(swept, grid).section.search == "grid"
    assert job(swept, grid.replace("grid", "bayesian")).section.search == "optuna"
    median = JOB[: JOB.index("  slack_factor")] + JOB[JOB.index("limits:") :]
    assert job(swept, median.replace("bandit", "median_stopping")).section.early_stop == "median"
