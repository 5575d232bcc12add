"""`amlexec model`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import Interpreter, SnapshotRecord
from amlexec.values import Project
from tests.support.records import RUN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

FIRST, SECOND = "p_1521077190506", "p_1521077190507"


def run_with(
    project: ProjectFolder, run_id: str, text: str, accuracy: float, status: str = "Completed"
) -> None:
    paths = RunPaths.of(Project(str(project.root)), run_id)
    paths.outputs.mkdir(parents=True)
    (paths.outputs / "model.pkl").write_text(text)
    record = RUN._replace(
        run_id=run_id,
        status=status,
        metrics={"accuracy": accuracy, "loss": float("nan")},
        python=Interpreter("/usr/bin/python3", "3.11.4"),
        snapshot=SnapshotRecord("a" * 64, 1, 1),
    )
    folders.write(paths, record)


@pytest.fixture
def demo(project: ProjectFolder) -> ProjectFolder:
    run_with(project, FIRST, "one", 0.9)
    run_with(project, SECOND, "two", 0.95)
    return project


def register(demo: ProjectFolder, run_id: str, *more: str) -> str:
    done = demo.amlexec("model", "register", "-n", "iris", "-r", run_id, "-m", "outputs/model.pkl", *more)
    assert done.code == 0, done.err
    return done.out.strip()


def test_a_run_is_registered_named_compared_and_downloaded(demo: ProjectFolder) -> None:
    assert register(demo, FIRST, "--tag", "stage=on", "--description", "the first") == "iris:1"
    assert register(demo, "last") == "iris:2"
    assert register(demo, SECOND) == "iris:2"
    done = demo.amlexec("model", "promote", "iris:1", "champion")
    assert done.err == "iris:champion is version 1\n"
    done = demo.amlexec("model", "promote", "iris", "champion")
    assert done.err == "iris:champion is version 2; it was version 1\n"
    shown = json.loads(demo.amlexec("model", "show", "iris:1", "-o", "json").out)
    assert shown["run"]["run_id"] == FIRST
    assert shown["run"]["metrics"] == {"accuracy": 0.9, "loss": "NaN"}
    assert (shown["python"], shown["tags"], shown["description"]) == ("3.11.4", {"stage": "on"}, "the first")
    assert shown["aliases"] == []
    listed = demo.amlexec("model", "list").out.splitlines()
    assert [line.split()[:3] for line in listed[2:]] == [
        ["iris:2", "champion", "latest"],
        ["iris:1", *listed[3].split()[1:3]],
    ]
    compared = demo.amlexec("model", "compare", "iris:1", "iris:champion")
    assert "metrics.accuracy" in compared.out
    assert compared.err.startswith(f"iris:1 is from {FIRST}\niris:2 is from {SECOND}\n")
    done = demo.amlexec("model", "download", "iris:champion")
    assert done.out == "models/iris/2/model.pkl\n"
    assert (demo.root / "models/iris/2/model.pkl").read_text() == "two"
    done = demo.amlexec("model", "download", "iris:champion")
    assert (done.code, done.err.partition("\n")[0]) == (3, "error: models/iris/2/model.pkl exists already")


def test_a_version_outlives_its_run(demo: ProjectFolder) -> None:
    register(demo, FIRST)
    register(demo, SECOND)
    folders.discard(RunPaths.of(Project(str(demo.root)), FIRST))
    assert demo.amlexec("model", "download", "iris:1").code == 0
    compared = json.loads(demo.amlexec("model", "compare", "iris:1", "iris:2", "-o", "json").out)
    rows = {row["key"]: row["values"] for row in compared["rows"]}
    assert rows["metrics.accuracy"] == [0.9, 0.95]
    done = demo.amlexec("model", "register", "-n", "iris", "-r", FIRST, "-m", "outputs/model.pkl")
    assert done.code == 3
    assert f"there is no run '{FIRST}'" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["register", "-n", "iris"], "either FILE or -r RUN"),
        (["register", "-n", "iris", "-r", "last"], "has registered no model"),
        (["register", "-n", "iris", "x", "-m", "y"], "-m is for an output of a run"),
        (["register", "x"], "the model has no name"),
        (["register", "-n", "i", "-r", "last", "-m", "outputs/../run.json"], "is not a path below the run's"),
        (["register", "-n", "i", "-r", "last", "-m", "x.pkl"], f"{SECOND} has no outputs/x.pkl"),
        (["register", "-n", "i", "-r", "last", "-m", "x.pkl"], "hint: it has outputs/model.pkl"),
        (["register", "-n", "a b", "-r", "last", "-m", "model.pkl"], "is not a name for a model"),
        (["register", "-n", "iris", "nofile"], "there is no such file or folder"),
        (["show", "iris"], "has no model 'iris'"),
        (["show", "a:b:c"], "names no version of a model"),
        (["compare", "iris"], "there is only one version to compare"),
        (["list", "--registry", "ftp://x/y"], "ftp://"),
    ],
)
def test_mistakes_are_sentences(demo: ProjectFolder, arguments: list[str], says: str) -> None:
    done = demo.amlexec("model", *arguments)
    assert done.code == 3
    assert says in done.err
    assert "Traceback" not in done.err


def test_an_output_that_links_out_of_the_run_is_refused(demo: ProjectFolder) -> None:
    outputs = RunPaths.of(Project(str(demo.root)), SECOND).outputs
    (outputs / "link").symlink_to("/etc/passwd")
    done = demo.amlexec("model", "register", "-n", "iris", "-r", "last", "-m", "outputs/link")
    assert done.code == 3
    assert "a link that leads out of its folder" in done.err


def test_versions_are_deleted_by_number_and_not_while_an_alias_means_them(demo: ProjectFolder) -> None:
    register(demo, FIRST)
    register(demo, SECOND)
    demo.amlexec("model", "promote", "iris:1", "champion")
    assert "can mean another version" in demo.amlexec("model", "delete", "iris").err
    done = demo.amlexec("model", "delete", "iris:1")
    assert (done.code, "iris:1 is champion" in done.err) == (3, True)
    assert demo.amlexec("model", "delete", "iris:1", "iris:2", "--force").err == (
        "iris:1 is deleted\niris:2 is deleted\n"
    )
    assert "there are no models" in demo.amlexec("model", "list").err


def test_tags_are_shown_added_and_removed(demo: ProjectFolder) -> None:
    register(demo, FIRST)
    assert (
        demo.amlexec("model", "tag", "iris", "best", "stage=on").err == "iris:1 is tagged: best, stage=on\n"
    )
    shown = demo.amlexec("model", "tag", "iris").out
    assert [line.split() for line in shown.splitlines()[2:]] == [["best"], ["stage", "on"]]
    done = demo.amlexec("model", "tag", "iris:1", "--remove", "best", "--description", "x")
    assert done.err == "iris:1 is tagged: stage=on\niris:1 is described\n"


def test_a_shared_registry_needs_no_project(demo: ProjectFolder, tmp_path: Path) -> None:
    shared = tmp_path / "shared registry"
    register(demo, FIRST, "--registry", str(shared))
    assert demo.amlexec("model", "show", "iris").code == 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = demo.amlexec(
        "model", "download", "iris", env={**os.environ, "AMLEXEC_MODELS": str(shared)}, cwd=elsewhere
    )
    assert done.code == 0, done.err
    assert (elsewhere / "models/iris/1/model.pkl").read_text() == "one"
    assert "there is no aml_config folder" in demo.amlexec("model", "list", cwd=elsewhere).err


def test_a_broken_record_is_a_row(demo: ProjectFolder) -> None:
    register(demo, FIRST)
    register(demo, SECOND)
    (demo.root / ".amlexec/models/names/iris/versions/1.json").write_text('{"format": 1, "na')
    listed = demo.amlexec("model", "list")
    assert listed.code == 0
    assert "unreadable" in listed.out
    assert "it is not JSON, or is cut off" in listed.out
    done = demo.amlexec("model", "show", "iris:1")
    assert (done.code, "the record of iris:1 can't be read" in done.err) == (2, True)
