"""The input files of an environment: all are found, even if some are broken."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec.config import load as config
from amlexec.errors import AmlexecError
from amlexec.prepare import input_files
from amlexec.prepare.project import ProjectEnvironments

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.values import Project
    from tests.conftest import ProjectFolder

RUNCONFIG = "Target: docker\nFramework: Python\nCondaDependenciesFile: aml_config/conda_dependencies.yml\n"
DECLARED = [f"aml_config/{name}" for name in ("conda_dependencies.yml", "docker.compute", "docker.runconfig")]
PIP = """\
dependencies:
  - python
  - pip:
    - -r requirements.txt
    - -c limits.txt
    - wheels/x-1.0-py3-none-any.whl
    - -e library
    - --find-links links
"""
LIBRARY = ["library/a.py", "library/pyproject.toml", "library/sub/b.py"]
CAMEL = """\
script: train.py
target: local
framework: Python
environment:
  docker: {enabled: true, baseImage: debian}
  python:
    userManagedDependencies: false
    condaDependencies:
      dependencies: [python, {pip: [-r requirements.txt]}]
"""


@pytest.fixture
def folder(project: ProjectFolder) -> ProjectFolder:
    """A project with a docker target, and everything that its files may refer to."""
    project.write("aml_config/docker.compute", "type: docker\nbaseDockerImage: debian\n")
    project.write("aml_config/docker.runconfig", RUNCONFIG)
    project.write("aml_config/conda_dependencies.yml", "dependencies:\n  - python\n")
    project.write("requirements.txt", "six\n-r more/deep.txt\n")
    project.write("more/deep.txt", "idna==3.7\n")
    project.write("limits.txt", "rich<14\n")
    for name in ("wheels/x-1.0-py3-none-any.whl", "links/y-1.0-py3-none-any.whl", "links/notes.md"):
        project.write(name, name)
    for name in (*LIBRARY, "library/build/old.py", "library/a.pyc", "library/data.log"):
        project.write(name, "x = 1\n" if name.endswith(".py") else "[project]\nname = 'x'\nversion = '1'\n")
    project.write(".amlignore", "*.log\n")
    return project


def found(folder: ProjectFolder, name: str = "docker") -> tuple[list[str], input_files.InputFiles]:
    """The files, relative to the project's root if they are inside it, and the whole answer."""
    project = config.find_project(folder.root)
    inputs = input_files.find(project, [name])[name]
    files = [*inputs.files, *input_files.package_files(project, inputs)]
    return sorted(path.removeprefix(f"{project.root}/") for path in files), inputs


def test_declared_files(folder: ProjectFolder) -> None:
    assert found(folder)[0] == DECLARED
    folder.write("aml_config/conda_dependencies.lock", "version: 6\n")
    assert found(folder)[0] == sorted([*DECLARED, "aml_config/conda_dependencies.lock"])


def test_referenced_files(folder: ProjectFolder) -> None:
    folder.write("aml_config/conda_dependencies.yml", PIP)
    expected = [*DECLARED, "requirements.txt", "more/deep.txt", "limits.txt", *LIBRARY]
    expected += ["wheels/x-1.0-py3-none-any.whl", "links/y-1.0-py3-none-any.whl"]
    for _ in range(2):  # as it is read, and from the cache
        assert found(folder)[0] == sorted(expected)
    folder.write("library/new.py", "")
    folder.write("links/z-1.0.tar.gz", "")
    folder.write("more/deep.txt", "-r deeper.txt\n")
    folder.write("more/deeper.txt", "")
    assert found(folder)[0] == sorted([*expected, "library/new.py", "links/z-1.0.tar.gz", "more/deeper.txt"])


def test_every_file_in_the_digest_is_an_input_file(folder: ProjectFolder) -> None:
    folder.write("aml_config/conda_dependencies.yml", PIP)
    project = config.find_project(folder.root)
    environments = ProjectEnvironments(project)
    files = found(folder)[0]
    for path in environments.wanted(environments.ref("docker")).request.spec.files:
        shown = path.removeprefix(f"{project.root}/")
        assert any(file == shown or file.startswith(f"{shown}/") for file in files), shown
    for file in files:
        before = ProjectEnvironments(project).ref("docker").digest
        text = (folder.root / file).read_bytes()
        change = {"runconfig": b"\n# x", "compute": b"\n# x", "yml": b"\n  - rich\n"}.get(file.split(".")[-1])
        folder.write(file, text + (change or b"\nrich<15\n"))
        is_other = ProjectEnvironments(project).ref("docker").digest != before
        assert is_other == (not file.endswith(("runconfig", "compute"))), file
        folder.write(file, text)


@pytest.mark.parametrize(
    ("compute", "expected", "waits"),
    [
        ("type: local\n", ["aml_config/docker.compute", "aml_config/docker.runconfig"], False),
        ("type: docker\n", DECLARED, True),
        ("type: remote\naddress: h\nusername: u\n", DECLARED[1:], False),
        ("type: remote\naddress: h\nusername: u\nuserManagedEnvironment: false\n", DECLARED, True),
        ("type: remotedocker\naddress: h\nusername: u\n", DECLARED, True),
        ("type: cluster\naddress: h\nusername: u\nuserManagedEnvironment: true\n", DECLARED[1:], False),
        ("type: cluster\naddress: h\nusername: u\n", DECLARED, True),
        ("type: batchai\n", DECLARED[1:], False),
    ],
)
def test_kinds_of_targets(folder: ProjectFolder, compute: str, expected: list[str], *, waits: bool) -> None:
    """A user's own environment has no dependencies files, and no run waits for it."""
    folder.write("aml_config/docker.compute", compute)
    assert found(folder)[1].is_waited_for is False
    folder.write("aml_config/docker.runconfig", f"{RUNCONFIG}PrepareEnvironment: true\n")
    files, inputs = found(folder)
    assert (files, inputs.is_waited_for) == (expected, waits)


def test_spark(folder: ProjectFolder) -> None:
    folder.write("aml_config/docker.runconfig", RUNCONFIG.replace("Python", "PySpark"))
    assert found(folder)[0] == DECLARED
    jar = "maven/org/example/shapes_2.12/1.0/shapes_2.12-1.0.jar"
    folder.write(jar, "jar")
    folder.write("maven/org/example/other/1.0/other-1.0.jar", "jar")
    folder.write(
        "aml_config/spark_dependencies.yml",
        "repositories: ['file:maven']\n"
        "packages: [{group: org.example, artifact: shapes_2.12, version: '1.0'}]\n",
    )
    expected = sorted([*DECLARED, "aml_config/spark_dependencies.yml", jar])
    assert found(folder)[0] == expected
    pom = jar.replace(".jar", ".pom")
    folder.write(pom, "pom")
    assert found(folder)[0] == sorted([*expected, pom])
    # A cluster downloads them itself: no environment contains them.
    folder.write("aml_config/docker.compute", "type: cluster\naddress: h\nusername: u\n")
    assert found(folder)[0] == sorted([*DECLARED, "aml_config/spark_dependencies.yml"])


def test_a_camel_case_file_without_a_compute_file(folder: ProjectFolder) -> None:
    folder.write("aml_config/one.runconfig", CAMEL)
    (folder.configuration / "local.compute").unlink()
    files, inputs = found(folder, "one")
    assert files == ["aml_config/one.runconfig", "more/deep.txt", "requirements.txt"]
    assert inputs.is_waited_for, "the default of azureml-core"


def test_a_dependencies_file_elsewhere(folder: ProjectFolder, tmp_path: Path) -> None:
    """From the project's root, else beside the run configuration, else anywhere."""
    outside = tmp_path / "needs.yml"
    outside.write_text("dependencies: [python]\n")
    for named, there in (("env.yml", "aml_config/env.yml"), (str(outside), str(outside))):
        folder.write("aml_config/docker.runconfig", RUNCONFIG.replace(DECLARED[0], named))
        folder.write("aml_config/env.yml", "dependencies: [python]\n")
        assert found(folder)[0] == sorted([*DECLARED[1:], there])
    folder.write("aml_config/docker.runconfig", RUNCONFIG.replace(DECLARED[0], "env.yml"))
    folder.write("env.yml", "dependencies: [python]\n")
    assert found(folder)[0] == sorted([*DECLARED[1:], "env.yml"])


BROKEN = {
    "no YAML": ("aml_config/docker.compute", "type: [\n"),
    "no kind": ("aml_config/docker.compute", "type: loacl\n"),
    "an unknown key": ("aml_config/docker.runconfig", f"{RUNCONFIG}Colour: blue\n"),
    "a wrong value": ("aml_config/docker.runconfig", f"{RUNCONFIG}ArgumentVector: 1\n"),
    "no YAML in the dependencies": ("aml_config/conda_dependencies.yml", "dependencies: {\n"),
    "a wrong dependency": ("aml_config/conda_dependencies.yml", "dependencies: [json, 1, {x: y}]\n"),
    "no UTF-8": ("aml_config/conda_dependencies.yml", b"\xff\xfe\x00"),
}


@pytest.mark.parametrize(("file", "text"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_input_file(folder: ProjectFolder, file: str, text: str | bytes) -> None:
    folder.write(file, text)
    assert found(folder)[0] == DECLARED


def test_missing_files(folder: ProjectFolder) -> None:
    """A missing file counts if a declaration names it, so that a task that creates it runs first."""
    for file in DECLARED[:2]:
        (folder.root / file).unlink()
    assert found(folder)[0] == DECLARED
    folder.write("aml_config/docker.compute", "type: docker\n")
    folder.write("aml_config/conda_dependencies.yml", PIP)
    (folder.root / "requirements.txt").unlink()
    (folder.root / "wheels/x-1.0-py3-none-any.whl").unlink()
    files = found(folder)[0]
    assert {"requirements.txt", "wheels/x-1.0-py3-none-any.whl"} <= set(files)
    assert "more/deep.txt" not in files
    folder.write("requirements.txt", "-r more/deep.txt")
    assert "more/deep.txt" in found(folder)[0]


def test_circular_requirements(folder: ProjectFolder) -> None:
    folder.write("aml_config/conda_dependencies.yml", PIP)
    folder.write("more/deep.txt", "-r ../requirements.txt\n-r deep.txt\nrich\n")
    assert {"requirements.txt", "more/deep.txt"} <= set(found(folder)[0])


def test_a_named_pipe_is_not_an_input_file(folder: ProjectFolder) -> None:
    """doit opens every file: it would hang on a named pipe."""
    folder.write("aml_config/conda_dependencies.yml", PIP)
    for name in ("requirements.txt", "wheels/x-1.0-py3-none-any.whl", "limits.txt"):
        (folder.root / name).unlink()
    os.mkfifo(folder.root / "requirements.txt")
    (folder.root / "limits.txt").mkdir()
    (folder.root / "wheels/x-1.0-py3-none-any.whl").symlink_to("nowhere")
    files = found(folder)[0]
    assert not {"requirements.txt", "limits.txt", "wheels/x-1.0-py3-none-any.whl"} & set(files)
    assert set(LIBRARY) <= set(files)


def test_a_folder_without_a_package_is_not_walked(folder: ProjectFolder) -> None:
    folder.write("aml_config/conda_dependencies.yml", "dependencies: [{pip: ['-e more', '-e /']}]\n")
    assert found(folder)[0] == DECLARED


def test_variables_are_expanded_each_time(folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("aml_config/conda_dependencies.yml", "dependencies: [{pip: ['-r ${WHICH}.txt']}]\n")
    for name in ("limits", "requirements"):
        monkeypatch.setenv("WHICH", name)
        assert f"{name}.txt" in found(folder)[0]
    monkeypatch.delenv("WHICH")
    found(folder)


def test_nothing_is_read_twice(folder: ProjectFolder) -> None:
    """Neither YAML nor the schemas are loaded while the files are unchanged, valid or not."""
    folder.write("aml_config/conda_dependencies.yml", PIP)
    folder.write("aml_config/broken.runconfig", "Target: [\n")
    folder.write("aml_config/odd.runconfig", f"{RUNCONFIG}Colour: blue\n")
    program = (
        "import sys\nfrom amlexec.config import load\nfrom amlexec.prepare import input_files\n"
        "project = load.find_project('.')\n"
        "input_files.find(project, load.run_configurations(project))\n"
        "print([name for name in ('yaml', 'jsonschema', 'packaging', 'rattler') if name in sys.modules])\n"
    )

    def loaded() -> str:
        done = folder.call(sys.executable, "-c", program)
        assert done.code == 0, done.err
        return done.out

    assert "yaml" in loaded()
    assert loaded() == "[]\n"
    folder.write("aml_config/odd.runconfig", f"{RUNCONFIG}Colour: red\n")
    assert "yaml" in loaded()
    assert loaded() == "[]\n"


def test_a_damaged_cache(folder: ProjectFolder) -> None:
    folder.write("aml_config/conda_dependencies.yml", PIP)
    whole = found(folder)[0]
    path = folder.root / ".amlexec/cache/inputs.json"
    text = path.read_text()
    for damage in (
        "",
        "[]",
        text[:-20],
        text.replace('"paths"', '"path"'),
        text.replace('"named": [', '"x": ['),
    ):
        path.write_text(damage)
        assert found(folder)[0] == whole
    for value in ("1", "null", '"x"', "[]", '{"docker": 1}', '{"docker": {"read": 1}}'):
        path.write_text(f'{{"entry": "inputs", "head": "{input_files._head()}", "known": {value}}}')
        assert found(folder)[0] == whole


WORDS = (
    "Target Framework target script type docker local dependencies pip channels environment "
    "CondaDependenciesFile PySpark packages repositories file: requirements.txt .. / ~ ${X} x.whl = \\ "
    "[ ] { } ' \" # &a *a !x | ? \0 é"
)
PIECES = st.sampled_from(
    [*WORDS.split(" "), ": ", "- ", "\n", "  ", "\t", "-r ", "-e ", "-c ", "PrepareEnvironment: true"]
)
TEXT = st.lists(PIECES, max_size=25).map("".join)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*DECLARED, "requirements.txt", "aml_config/spark_dependencies.yml"]), text=TEXT)
def test_any_text(folder: ProjectFolder, name: str, text: str) -> None:
    """A file with any content is an input file, and no error is raised."""
    folder.write("aml_config/conda_dependencies.yml", PIP)
    folder.write("aml_config/docker.runconfig", RUNCONFIG.replace("Python", "PySpark"))
    folder.write("aml_config/docker.compute", "type: docker\n")
    folder.write(name, text)
    assert "aml_config/docker.runconfig" in found(folder)[0]
    with contextlib.suppress(AmlexecError):
        _look_up(config.find_project(folder.root))
        assert set(DECLARED) <= set(found(folder)[0])


def _look_up(project: Project) -> None:
    ProjectEnvironments(project).ref("docker")
