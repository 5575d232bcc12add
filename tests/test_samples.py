"""Every folder of `tests/samples` is a project: lint prints exactly its expected.txt."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.config import lint
from amlexec.config import load as config
from amlexec.errors import ConfigurationError
from tests.support.linting import declarations, violations

if TYPE_CHECKING:
    from amlexec.values import Violation

SAMPLES = sorted(path for path in (Path(__file__).parent / "samples").iterdir() if path.is_dir())
ERAS = [path for path in SAMPLES if path.name[0] == "E" and path.name[1].isdigit()]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_lint_prints_the_expected_lines(sample: Path) -> None:
    said = lint.as_text(violations(config.find_project(sample)))
    assert said == (sample / "expected.txt").read_text(encoding="utf-8").splitlines()


def test_every_era_has_a_sample() -> None:
    assert [path.name[:2] for path in ERAS] == ["E0", "E1", "E2", "E3", "E4"]


@pytest.mark.parametrize("sample", ERAS, ids=lambda path: path.name)
def test_every_era_loads(sample: Path, tmp_path: Path) -> None:
    project = config.find_project(shutil.copytree(sample, tmp_path / "project"))
    names = config.run_configurations(project)
    assert names
    for name in names:
        assert config.load(project, name).run_configuration.name == name
    for name in config.compute_targets(project):
        assert config.load_target(project, name).name == name


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_load_raises_the_same_errors(sample: Path, tmp_path: Path) -> None:
    """`load` raises lint's errors about a run configuration or its target, except a plain password."""
    project = config.find_project(shutil.copytree(sample, tmp_path / "project"))
    wrong = {one for one in violations(project) if one.severity == "error" and one.key != "password"}
    met: set[Violation] = set()
    for name in config.run_configurations(project):
        try:
            config.load(project, name)
        except ConfigurationError as error:
            met.update(one for one in error.violations if one.severity == "error")
    for name in config.compute_targets(project):
        try:
            config.load_target(project, name)
        except ConfigurationError as error:
            met.update(one for one in error.violations if one.severity == "error")
    for loader, word in ((config.load_conda, "conda"), (config.load_spark, "spark")):
        for file in (file for file in declarations(project) if word in file):
            try:
                loader(project, file)
            except ConfigurationError as error:
                met.update(one for one in error.violations if one.severity == "error")
    assert met == wrong
