"""Registered models that go with a run; `tests/test_contract.py` sends some to every kind of target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from amlexec.models.registry import opened
from amlexec.runtime import SITE
from amlexec.values import Project

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.models.registry import Registry
    from tests.conftest import ProjectFolder

USE = """
from amlexec.model import path_of
with open(path_of("prices:champion")) as file:
    print("got", file.read())
"""
CONFIGURATION = "Target: local\nFramework: Python\nModels:\n  - scaler\n  - prices:champion\n"


@pytest.fixture
def registry(project: ProjectFolder) -> Registry:
    """Of a project whose run configuration names two of its models."""
    project.write("aml_config/local.runconfig", CONFIGURATION)
    project.write("use.py", USE)
    found = opened(Project(str(project.root)))
    for name, text in (("scaler", "s"), ("prices", "one"), ("prices", "two")):
        found.register(name, project.write("model.txt", text))
    found.promote("prices:1", "champion")
    return found


def test_a_run_keeps_the_versions_that_it_had_and_a_rerun_uses_them(
    project: ProjectFolder, registry: Registry
) -> None:
    done = project.submit("use.py")
    assert (done.code, "got one\n" in done.out) == (0, True), done.err
    assert project.record(done.run_id)["models"] == {"scaler": "scaler:1", "prices:champion": "prices:1"}
    shown = json.loads(project.amlexec("history", "info", "-r", done.run_id, "-o", "json").out)
    assert shown["models"]["prices:champion"] == "prices:1"
    registry.promote("prices:2", "champion")
    again = project.amlexec("experiment", "rerun", done.run_id)
    assert (again.code, "got one\n" in again.out) == (0, True), again.err
    assert project.record(again.run_id)["models"] == project.record(done.run_id)["models"]
    assert "got two\n" in project.submit("use.py").out
    registry.delete("prices:1")
    gone = project.amlexec("experiment", "rerun", done.run_id)
    assert (gone.code, "prices:1 was deleted" in gone.err) == (3, True), gone.err


def test_a_model_that_can_not_go_is_an_error_before_anything_runs(
    project: ProjectFolder, registry: Registry
) -> None:
    files = registry.path(registry.find("prices:1"))
    files.chmod(0o600)
    files.write_text("evil")
    done = project.submit("use.py")
    assert (done.code, "these are not the files that were registered" in done.err) == (2, True), done.err
    registry.remove_alias("prices", "champion")
    done = project.submit("use.py")
    assert done.code == 3
    assert "aml_config/local.runconfig:5:5: error: prices has no alias 'champion'" in done.err
    project.write("aml_config/local.runconfig", CONFIGURATION + "  - a b\n  - {prices: 2}\n")
    done = project.submit("use.py")
    assert done.code == 3
    said = "local.runconfig:6:5: error: Models[2] is 'a b'; expected NAME, NAME:VERSION or NAME:ALIAS"
    assert said in done.err
    assert "local.runconfig:7:5: error: Models[3] is a map of keys and values; expected text" in done.err
    assert project.run_ids() == []


def test_the_driver_on_a_node_of_yarn_finds_them(
    project: ProjectFolder, registry: Registry, tmp_path: Path
) -> None:
    project.write("fails.py", "import sys; sys.exit(1)")
    run_id = project.submit("fails.py").run_id
    head, node = project.run_folder(run_id), tmp_path / "node"
    program, archive = str(SITE / "amlexec/spark_pack.py"), str(head / "control/project.tar.gz")
    (head / "project/use.py").write_text(USE)
    # On the head node, they are files.
    assert (head / "models/contents").is_dir(), "those of a run that has failed stay"
    for link in (head / "models/contents").iterdir():
        files = link.resolve()
        link.unlink()
        subprocess.run(["cp", "-R", str(files), str(link)], check=True)
    subprocess.run([sys.executable, program, str(head), "", "", "project"], check=True)
    (node / "project").mkdir(parents=True)
    subprocess.run(["tar", "-xzf", archive, "-C", str(node / "project")], check=True)
    # As far as the results, which need a Hadoop.
    script = f"""
import sys
sys.path.insert(0, {str(SITE / "amlexec")!r})
import spark_node
spark_node.send = lambda *_: None
sys.exit(spark_node.run(["use.py"]))
"""
    environment = {**os.environ, "AMLEXEC_SPARK_RETURN": run_id}
    environment.pop("AMLEXEC_RUN_FOLDER", None)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=node, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "got one\n" in done.stdout) == (0, True), done.stdout + done.stderr
