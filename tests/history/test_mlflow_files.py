"""Metrics, parameters and tags that MLflow's client wrote into a run's outputs."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from amlexec.history import metrics, output_series
from amlexec.history.series import read_series


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def mlflow_run(outputs: Path, run_id: str, started: int = 1_500_000_000_000, **files: str) -> Path:
    """A run of MLflow; `__` in a name of a file is `/`."""
    folder = outputs / "mlruns" / "0" / run_id
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_text(f"lifecycle_stage: active\nstart_time: {started}\nstatus: 3\n")
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def summary(outputs: Path) -> dict[str, object]:
    found = output_series.sources(outputs.parent)
    return metrics.summary(outputs.parent / "metrics.jsonl", found).values


def test_metrics_and_parameters(outputs: Path) -> None:
    mlflow_run(
        outputs,
        "a" * 32,
        metrics__loss="1500000000100 0.5 3\n1500000000200 nan 4\n1500000000300 -inf 5\n",
        metrics__acc__top1="1500000000100 1.0 0\n",
        metrics__early="1500000000100 2\n",  # of MLflow 0.x
        metrics__torn="1500000000100 2 1\n15000",
        params__lr="0.01",
        params__layers="64",
        params__optimizer="adam",
        params__seed="007",
        params__loss="mse",
        params__big="1e999",
    )
    found = read_series(outputs.parent / "metrics.jsonl")
    loss = found["loss"]
    assert (loss.kind, [*loss.steps], [*loss.times]) == (
        "scalar",
        [3, 4, 5],
        [1.5e9 + n / 10 for n in (1, 2, 3)],
    )
    assert [repr(value) for value in loss.values] == ["0.5", "nan", "-inf"]
    assert summary(outputs) == {
        "acc/top1": 1.0,
        "early": 2.0,
        "loss": "-Infinity",
        "torn": 2.0,
        "big": "1e999",
        "layers": 64,
        "params/loss": "mse",
        "lr": 0.01,
        "optimizer": "adam",
        "seed": "007",
    }


def test_several_runs_are_in_the_names(outputs: Path) -> None:
    mlflow_run(
        outputs, "b" * 32, 2, metrics__loss="1 1 1\n", tags__mlflow__x="", **{"tags__mlflow.runName": "fold"}
    )
    mlflow_run(outputs, "a" * 32, 3, metrics__loss="1 2 1\n", **{"tags__mlflow.runName": "fold"})
    mlflow_run(outputs, "c" * 32, 1, metrics__loss="1 3 1\n", params__lr="1")
    deleted = mlflow_run(outputs, "d" * 32, 1, metrics__loss="1 3 1\n")
    (deleted / "meta.yaml").write_text("lifecycle_stage: deleted\n")
    assert summary(outputs) == {
        "cccccccc/loss": 3.0,
        "cccccccc/lr": 1,
        "fold/loss": 1.0,
        "fold aaaaaaaa/loss": 2.0,
    }


def test_tags_without_those_of_mlflow(outputs: Path) -> None:
    mlflow_run(outputs, "a" * 32, tags__data="v2", **{"tags__mlflow.user": "me"})
    (source,) = output_series.sources(outputs.parent)
    assert source.tags() == {"data": "v2"}


def test_strange_folders_are_left_out(outputs: Path, tmp_path: Path) -> None:
    folder = mlflow_run(outputs, "a" * 32, metrics__loss="1 1 1\n")
    (tmp_path / "secret").write_text("1 7 1\n")
    (folder / "metrics/link").symlink_to(tmp_path / "secret")
    (outputs / "mlruns/0/loop").symlink_to(outputs / "mlruns")
    (outputs / "mlruns/file").write_text("")
    (outputs / "mlruns/models/x").mkdir(parents=True)
    assert summary(outputs) == {"loss": 1.0}


# ---------------------------------------------------------------- a database

TABLES = """
CREATE TABLE runs (run_uuid TEXT, name TEXT, start_time INTEGER, lifecycle_stage TEXT);
CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan BOOLEAN);
CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
INSERT INTO runs VALUES ('aa', 'first', 1500000000000, 'active'), ('bb', 'gone', 1, 'deleted');
INSERT INTO metrics VALUES ('loss', 0.5, 1500000000100, 'aa', 3, 0), ('loss', 0, 1500000000200, 'aa', 4, 1),
  ('loss', -1.7976931348623157e308, 1500000000300, 'aa', 5, 0), ('acc/top1', 1, 1, 'aa', 0, 0),
  ('acc', 2, 1, 'aa', 0, 0), ('loss', 7, 1, 'bb', 0, 0);
INSERT INTO params VALUES ('lr', '0.1', 'aa'), ('loss', 'mse', 'aa');
INSERT INTO tags VALUES ('data', 'v2', 'aa'), ('mlflow.user', 'me', 'aa');
"""


def database(outputs: Path, text: str) -> Path:
    outputs.mkdir(exist_ok=True)
    path = outputs / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(text)
    return path


def test_a_database(outputs: Path) -> None:
    database(outputs, TABLES)
    loss = read_series(outputs.parent / "metrics.jsonl")["loss"]
    assert [repr(value) for value in loss.values] == ["0.5", "nan", "-inf"]
    assert ([*loss.steps], loss.times[0]) == ([3, 4, 5], 1500000000.1)
    found = {"acc": 2.0, "acc/top1": 1.0, "loss": "-Infinity", "lr": 0.1, "params/loss": "mse"}
    assert summary(outputs) == found
    (source,) = output_series.sources(outputs.parent)
    assert source.tags() == {"data": "v2"}


def test_databases_of_others_are_left_out(outputs: Path) -> None:
    path = database(outputs, "CREATE TABLE mine (x)")
    assert summary(outputs) == {}
    path.write_bytes(b"SQLite format 3\0" + bytes(100))
    assert summary(outputs) == {}
    path.unlink()
    views = TABLES.replace("CREATE TABLE tags", "CREATE TABLE others").replace("INTO tags", "INTO others")
    path = database(outputs, views + "CREATE VIEW tags AS SELECT * FROM others;")
    assert summary(outputs) == {}
    path.unlink()
    path.symlink_to("/dev/zero")
    assert summary(outputs) == {}
