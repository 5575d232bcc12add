"""`amlexec lint` as users call it: from a shell, a program and a workflow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from amlexec.config import lint
from amlexec.config import load as config
from amlexec.values import Place, Violation
from tests.support.linting import declarations, violations

WRONG = "Target: local\nFramework: Pyhton\n"


class Done(NamedTuple):
    code: int
    out: str
    err: str


def amlexec(folder: Path, *arguments: str) -> Done:
    command = [sys.executable, "-m", "amlexec", "lint", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "aml_config/local.compute", "type: local\n")
    write(tmp_path / "aml_config/local.runconfig", "Target: local\nFramework: Python\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_valid_project(folder: Path) -> None:
    assert amlexec(folder) == (0, "", "2 files, 0 errors, 0 warnings\n")
    assert not (folder / ".amlexec").exists(), "a check leaves nothing behind"


def test_errors(folder: Path) -> None:
    write(folder / "aml_config/local.runconfig", WRONG)
    write(folder / "aml_config/bad.runconfig", "Target: local\nColour: blue\n")
    done = amlexec(folder)
    assert done.code == 3
    assert done.out.splitlines() == [
        (
            "aml_config/bad.runconfig: note: Framework is not set; Python is assumed, "
            "where Workbench assumed PySpark"
        ),
        "  hint: write Framework: Python or Framework: PySpark",
        "aml_config/bad.runconfig:2:1: warning: unknown key 'Colour'",
        "aml_config/local.runconfig:2:12: error: Framework is 'Pyhton'; expected Python or PySpark",
        "  hint: did you mean Python?",
    ]
    assert done.err == "3 files, 1 error, 1 warning, 1 note\n"


def test_warnings_pass_unless_strict(folder: Path) -> None:
    write(folder / "aml_config/local.compute", "type: local\nColour: blue\n")
    assert amlexec(folder).code == 0
    assert amlexec(folder, "--strict").code == 3
    assert amlexec(folder, "--strict", "aml_config/local.compute").code == 3


def test_from_a_subfolder_and_from_outside(folder: Path) -> None:
    write(folder / "aml_config/local.runconfig", WRONG)
    (folder / "src").mkdir()
    expected = amlexec(folder)
    assert amlexec(folder / "src") == expected
    assert amlexec(folder.parent, "-p", str(folder)) == expected


def test_a_file_is_named_as_it_is_typed(folder: Path) -> None:
    write(folder / "aml_config/local.runconfig", WRONG)
    for typed in ("aml_config/local.runconfig", str(folder / "aml_config/local.runconfig")):
        assert amlexec(folder, typed).out.startswith(f"{typed}:2:12: error:")
    assert amlexec(folder, "./aml_config/local.runconfig").out.startswith("aml_config/")
    assert amlexec(folder / "aml_config", "local.runconfig").out.startswith("local.runconfig:2:12:")


def test_a_file_given_twice_is_reported_once(folder: Path) -> None:
    write(folder / "aml_config/local.runconfig", WRONG)
    done = amlexec(folder, "aml_config/local.runconfig", "aml_config/local.runconfig")
    assert done.out.count("error:") == 1
    assert done.err == "1 file, 1 error, 0 warnings\n"


def test_a_single_file_is_checked_against_its_project(folder: Path) -> None:
    write(folder / "aml_config/gpu.runconfig", "Target: gpu\nFramework: Python\n")
    assert "there is no aml_config/gpu.compute" in amlexec(folder, "aml_config/gpu.runconfig").out


def test_a_file_of_no_project(tmp_path: Path) -> None:
    write(tmp_path / "x.runconfig", "Target: local\nFramework: Python\n")
    assert amlexec(tmp_path, "x.runconfig").code == 0
    done = amlexec(tmp_path)
    assert done.code == 3
    assert "amlexec init" in done.err


def test_kinds_by_name_and_by_content(folder: Path) -> None:
    write(folder / "Config/hdi_spark.yaml", "packages: 1\n")
    write(folder / "environment.yml", "dependencies: [json]\n")
    write(folder / "cluster.yml", "configuration: {a: 1}\npackages: 1\n")
    out = amlexec(folder, "Config/hdi_spark.yaml", "environment.yml").out
    assert "Config/hdi_spark.yaml:1:11: error: packages is '1'; expected a list" in out
    assert "environment.yml:1:16: error: 'json' is a module of Python's standard library" in out


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("README.md", "# words\n", "README.md is not a configuration file of a project"),
        ("other.yml", "a: 1\n", "other.yml is not a configuration file of a project"),
        ("other.yml", "a: [\n", "other.yml is not a configuration file of a project"),
        ("", "", "there is no file absent.compute"),
    ],
)
def test_files_of_other_kinds(folder: Path, name: str, text: str, said: str) -> None:
    if name:
        write(folder / name, text)
    done = amlexec(folder, name or "absent.compute")
    assert (done.code, done.out) == (3, "")
    assert said in done.err


def test_a_folder_is_refused(folder: Path) -> None:
    (folder / "x.compute").mkdir()
    assert "x.compute is a folder" in amlexec(folder, "x.compute").err


def test_referenced_files_belong_to_the_project(folder: Path) -> None:
    write(
        folder / "aml_config/local.runconfig",
        "Target: local\nFramework: Python\nCondaDependenciesFile: Config\\needs.yml\n",
    )
    write(folder / "Config/needs.yml", "dependencies: [json]\n")
    project = config.find_project(folder)
    assert declarations(project) == [
        "Config/needs.yml",
        "aml_config/local.compute",
        "aml_config/local.runconfig",
    ]
    assert [str(one.place) for one in violations(project)] == ["Config/needs.yml:1:16"]
    assert violations(project, ["aml_config/local.compute"]) == []
    assert len(violations(project, ["Config/needs.yml"])) == 1


def test_a_broken_file_does_not_hide_the_others(folder: Path) -> None:
    write(folder / "aml_config/broken.runconfig", "Target: [\n")
    project = config.find_project(folder)
    assert "aml_config/broken.runconfig" in declarations(project)
    assert {one.place.path for one in violations(project)} == {"aml_config/broken.runconfig"}


def test_json(folder: Path) -> None:
    write(folder / "aml_config/local.runconfig", WRONG)
    done = amlexec(folder, "-o", "json")
    assert done.code == 3
    assert json.loads(done.out) == [
        {
            "file": "aml_config/local.runconfig",
            "line": 2,
            "column": 12,
            "severity": "error",
            "key": "Framework",
            "message": "Framework is 'Pyhton'; expected Python or PySpark",
            "hint": "did you mean Python?",
        }
    ]
    write(folder / "aml_config/local.runconfig", "Target: local\nFramework: Python\n")
    assert json.loads(amlexec(folder, "--output", "json").out) == []


def test_github(folder: Path) -> None:
    write(folder / "aml_config/local.runconfig", WRONG)
    done = amlexec(folder, "--format", "github")
    assert done.code == 3
    assert done.out == (
        "::error file=aml_config/local.runconfig,line=2,col=12::"
        "Framework is 'Pyhton'; expected Python or PySpark%0Ahint: did you mean Python?\n"
    )


def test_github_escapes() -> None:
    violations = [
        Violation(Place("a,b:c%d.compute"), "note", "50% of\r\nit"),
        Violation(Place("x", 3), "warning", "::error::"),
    ]
    assert lint.as_github(violations) == [
        "::notice file=a%2Cb%3Ac%25d.compute::50%25 of%0D%0Ait",
        "::warning file=x,line=3::::error::",
    ]


def test_many_files(folder: Path) -> None:
    for number in range(300):
        write(
            folder / f"aml_config/t{number}.compute", f"type: local\npythonLocation: p{number}\nColour: x\n"
        )
    project = config.find_project(folder)
    assert len(violations(project)) == 300
    assert lint.summary(302, violations(project)) == "302 files, 0 errors, 300 warnings"
