"""`amlexec runconfiguration`: create, show and delete files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Done, ProjectFolder


@pytest.fixture
def demo(project: ProjectFolder) -> ProjectFolder:
    project.write("train.py", "print('trained')\n")
    return project


def runconfiguration(project: ProjectFolder, *arguments: str, group: str = "runconfiguration") -> Done:
    return project.amlexec(group, *arguments)


def test_a_created_file_runs_and_lints(demo: ProjectFolder) -> None:
    done = runconfiguration(demo, "create", "-n", "quick", "-t", "local")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "wrote aml_config/quick.runconfig"
    assert demo.amlexec("lint", "--strict", "aml_config/quick.runconfig").code == 0
    assert demo.amlexec("experiment", "submit", "-c", "quick", "train.py").code == 0


def test_nothing_is_overwritten(demo: ProjectFolder) -> None:
    before = (demo.root / "aml_config/local.runconfig").read_bytes()
    done = runconfiguration(demo, "create", "-n", "local", "-t", "local")
    assert done.code == 3
    assert "aml_config/local.runconfig: error: there is a run configuration 'local' already" in done.err
    assert (demo.root / "aml_config/local.runconfig").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "-n", "x", "-t", "locla"), "locla"),
        (("create", "-n", "a/b", "-t", "local"), "'a/b' can't be the name of a run configuration"),
        (("show", "-n", "locla"), "locla"),
        (("delete", "-n", "locla"), "there is no run configuration 'locla'"),
    ],
)
def test_unknown_names(demo: ProjectFolder, arguments: tuple[str, ...], said: str) -> None:
    before = sorted(path.name for path in (demo.root / "aml_config").iterdir())
    done = runconfiguration(demo, *arguments)
    assert done.code == 3
    assert said in done.err
    assert sorted(path.name for path in (demo.root / "aml_config").iterdir()) == before


def test_list_and_show_and_hide_secrets(demo: ProjectFolder) -> None:
    demo.write(
        "aml_config/secret.runconfig",
        "Target: local\nFramework: Python\nEnvironmentVariables:\n  MY_PASSWORD: hunter22222\n  SEED: 1\n",
    )
    listed = runconfiguration(demo, "list", "-o", "json", group="runconfigurations")
    rows = {row["name"]: row for row in json.loads(listed.out)}
    assert rows["secret"] == {
        "name": "secret",
        "target": "local",
        "framework": "Python",
        "file": "aml_config/secret.runconfig",
    }
    shown = runconfiguration(demo, "show", "-n", "secret", "-o", "json")
    assert json.loads(shown.out)["EnvironmentVariables"]["SEED"] == "1"
    assert "hunter22222" not in shown.out + runconfiguration(demo, "show", "-n", "secret").out


def test_a_broken_file_is_listed_with_its_error_and_can_be_deleted(demo: ProjectFolder) -> None:
    demo.write("aml_config/broken.runconfig", "Target: local\nFramework: Pyhton\n")
    listed = runconfiguration(demo, "list")
    assert listed.code == 0
    assert "aml_config/broken.runconfig:2:12: error:" in listed.err
    assert "broken" in listed.out
    assert runconfiguration(demo, "delete", "-n", "broken").out == "removed aml_config/broken.runconfig\n"
    assert not (demo.root / "aml_config/broken.runconfig").exists()
