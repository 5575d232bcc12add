"""doit makes tasks of the declarations that lint finds; unchanged files are not parsed again."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from amlexec.config import declared
from amlexec.values import Project
from tests.support.linting import declarations

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    configuration = tmp_path / "aml_config"
    configuration.mkdir()
    (configuration / "local.compute").write_text("type: local\n")
    (configuration / "local.runconfig").write_text("Target: local\nFramework: Python\n")
    return Project(str(tmp_path.resolve()))


def same(project: Project) -> list[str]:
    """The files, the same from both functions; called twice, so that the second answer is cached."""
    wanted = declarations(project)
    assert declared.files(project) == wanted
    assert declared.files(project) == wanted
    return wanted


def test_same_files_as_lint(project: Project, tmp_path: Path) -> None:
    assert same(project) == ["aml_config/local.compute", "aml_config/local.runconfig"]
    (tmp_path / "aml_config" / "other.compute").write_text("type: local\n")
    assert "aml_config/other.compute" in same(project)
    (tmp_path / "aml_config" / "other.compute").unlink()
    assert "aml_config/other.compute" not in same(project)


def test_a_referenced_file_appears_and_vanishes(project: Project, tmp_path: Path) -> None:
    text = "Target: local\nFramework: Python\nCondaDependenciesFile: more/packages.yml\n"
    (tmp_path / "aml_config" / "local.runconfig").write_text(text)
    assert "more/packages.yml" not in same(project)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "packages.yml").write_text("dependencies: []\n")
    assert "more/packages.yml" in same(project)
    (tmp_path / "more" / "packages.yml").unlink()
    assert "more/packages.yml" not in same(project)


def test_a_changed_reference(project: Project, tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("dependencies: []\n")
    (tmp_path / "two.yml").write_text("dependencies: []\n")
    for name in ("one.yml", "two.yml"):
        text = f"Target: local\nFramework: Python\nCondaDependenciesFile: {name}\n"
        (tmp_path / "aml_config" / "local.runconfig").write_text(text)
        assert name in same(project)


def test_a_file_with_a_mistake_in_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "aml_config" / "local.runconfig").write_text('Target: "local\n')
    assert same(project) == ["aml_config/local.compute", "aml_config/local.runconfig"]


def test_an_unchanged_file_is_not_parsed_again(project: Project) -> None:
    declared.files(project)
    program = (
        "import sys; from amlexec.config import declared; from amlexec.values import Project; "
        "print(declared.files(Project(sys.argv[1]))); assert 'yaml' not in sys.modules"
    )
    command = [sys.executable, "-c", program, project.root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "local.runconfig" in done.stdout
