"""lint, lock and prepare accept and refuse the same declarations, with the same messages."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec.config import load as config
from amlexec.environments import spec
from amlexec.errors import AmlexecError, ConfigurationError
from amlexec.packages import conda_spec
from amlexec.packages.platforms import DEFAULT
from tests.support.linting import violations

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.values import Project

FILE = "aml_config/conda_dependencies.yml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "aml_config").mkdir()
    (tmp_path / "requirements.txt").write_text("six \\\n  --hash=sha256:00  # via x\n# made by pip-compile\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "x-1.0-py3-none-any.whl").write_bytes(b"wheel")
    return config.find_project(tmp_path)


def linted(project: Project, file: str = FILE) -> list[str]:
    return [one.message for one in violations(project, [file]) if one.severity == "error"]


def prepared(project: Project) -> list[str]:
    """The errors of prepare, before any package is requested."""
    try:
        found = config.load_conda(project, FILE)
        spec.spec_of(project, "", found, DEFAULT)
        for line in found.specs:
            conda_spec.parsed(line.text)
    except ConfigurationError as error:
        return [one.message for one in error.violations if one.severity == "error"] or [error.message]
    return []


def write(project: Project, conda: list[str], pip: list[str]) -> None:
    dependencies = [*conda, *([{"pip": pip}] if pip else [])]
    with open(f"{project.root}/{FILE}", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump({"dependencies": dependencies}, file)


@pytest.mark.parametrize(
    "line",
    [
        ".[dev]",
        "-e .",
        "-r requirements.txt",
        "./x-1.0-py3-none-any.whl",
        "a==1.0 --hash=sha256:00",
        "a[b] ; c=='d'",
    ],
)
def test_accepted_pip_lines(project: Project, line: str) -> None:
    write(project, [], [line.replace("c==", "os_name==")])
    assert (linted(project), prepared(project)) == ([], [])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("-r nothere.txt", "there is no file nothere.txt"),
        ("./nothere", "there is no nothere"),
        ("-e aml_config", "aml_config has neither pyproject.toml nor setup.py"),
        ("--find-links nothere", "nothere cannot be read"),
        ("torch --extra-index-url https://h/simple", "--extra-index-url follows a requirement"),
        ("x<=3.20.*", "'x<=3.20.*' is not a pip requirement"),
        ("C:\\temp\\x.whl", "is a path on a Windows machine; this machine is not"),
        ("C:\temp\\x.whl", "contains a control character"),
        ("-r https://h/r.txt", "https://h/r.txt is on another machine"),
    ],
)
def test_refused_pip_lines(project: Project, line: str, word: str) -> None:
    write(project, [], ["six", line])
    (message,) = linted(project)
    assert word in message
    assert prepared(project) == [message]


def test_lines_of_a_file_that_is_referred_to(project: Project, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\nx<=1.*\n")
    write(project, [], ["-r requirements.txt"])
    (violation,) = violations(project, [FILE])
    assert str(violation.place) == "requirements.txt:2:1"


def test_the_target_decides_about_the_shared_folder(project: Project, tmp_path: Path) -> None:
    write(project, [], ["/azureml-share/x.whl"])
    assert linted(project) == []
    for name, volumes in (("with", "true"), ("without", "false")):
        text = f"type: docker\nsharedVolumes: {volumes}\n"
        (tmp_path / f"aml_config/{name}.compute").write_text(text)
        (tmp_path / f"aml_config/{name}.runconfig").write_text(f"Target: {name}\nFramework: Python\n")
    assert linted(project, "aml_config/with.runconfig") == []
    (message,) = linted(project, "aml_config/without.runconfig")
    assert message == "/azureml-share/x.whl is in the shared folder, but the compute target has none"


def test_an_absolute_dependencies_file(
    project: Project, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "needs.yml"
    file.write_text("dependencies: [json]\n")
    (tmp_path / "aml_config/local.compute").write_text("type: local\nColour: blue\n")
    text = f"Target: local\nFramework: Python\nCondaDependenciesFile: {file}\n"
    (tmp_path / "aml_config/local.runconfig").write_text(text)
    found = violations(project)
    assert [str(one.place) for one in found] == [f"{file}:1:16", "aml_config/local.compute:2:1"]
    with pytest.raises(ConfigurationError, match="'json' is a module"):
        config.load_conda(project, str(file))


PIECES = (
    "a 1 . - _ = == >= < ~= ! * , | [ ] ( ) ; @ # / \\ : :: ^ ' \" -r -e x six numpy .whl https://h/ \t {{ %"
)
LINE = st.lists(st.sampled_from([*PIECES.split(" "), " "]), min_size=1, max_size=6).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conda=st.lists(LINE, max_size=2), pip=st.lists(LINE, max_size=2))
def test_any_lines(project: Project, conda: list[str], pip: list[str]) -> None:
    write(project, conda, pip)
    assert bool(linted(project)) == bool(prepared(project))


TEXT = st.lists(
    st.sampled_from(
        [
            *"{}[],:-#&*!|>'\"%@`~\n\t \x85\u2028é",
            ": ",
            "- ",
            "Target",
            "script",
            "type",
            "pip",
            "{{ x }}",
            "1",
            "a",
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, name=st.sampled_from(["x.compute", "x.runconfig", "conda.yml", "spark.yml"]))
def test_any_text_is_accepted_or_refused(project: Project, text: str, name: str) -> None:
    with open(f"{project.configuration}/{name}", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    with contextlib.suppress(AmlexecError):
        violations(project, [f"aml_config/{name}"])
