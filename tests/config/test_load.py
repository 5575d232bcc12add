"""Find a project, load its files together, and check that the files they refer to exist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amlexec.config import cache, declared, schemas
from amlexec.config import load as config
from amlexec.errors import ConfigurationError, UsageError
from amlexec.targets import local_python
from amlexec.values import Place, Project
from tests.support.linting import declarations, violations

RUN = "Target: local\nFramework: Python\nArgumentVector: [train.py]\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "a b" / "demo"
    (folder / "aml_config").mkdir(parents=True)
    found = config.find_project(folder)
    write(found, "local.compute", "type: local\n")
    write(found, "local.runconfig", RUN)
    return found


def write(project: Project, name: str, text: str) -> Path:
    path = Path(project.configuration, name)
    path.write_text(text, encoding="utf-8")
    return path


def errors(project: Project, name: str, target: str = "") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        config.load(project, name, target)
    return caught.value.lines()


def entries(project: Project) -> list[Path]:
    return sorted(Path(project.state, "cache").glob("*.json"))


def test_a_project_is_found_from_a_subfolder(project: Project, tmp_path: Path) -> None:
    below = Path(project.root, "src", "deep")
    below.mkdir(parents=True)
    (tmp_path / "link").symlink_to(below)
    for start in (Path(project.root), below, tmp_path / "link"):
        assert config.find_project(start) == project
    assert project.name == "demo"


def test_without_a_project_the_error_lists_the_searched_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.find_project(tmp_path)
    assert str(tmp_path.resolve()) in caught.value.message
    assert str(tmp_path.resolve().parent) in caught.value.message
    assert "amlexec init" in caught.value.hint


def test_names(project: Project) -> None:
    write(project, "gpu.compute", "type: docker\n")
    write(project, ".compute", "")
    write(project, "notes.txt", "")
    assert config.run_configurations(project) == ("local",)
    assert config.compute_targets(project) == ("gpu", "local")


@pytest.mark.parametrize("name", ["local", "local.runconfig", "aml_config/local.runconfig"])
@pytest.mark.parametrize("target", ["", "local", "local.compute"])
def test_names_with_and_without_suffix(project: Project, name: str, target: str) -> None:
    found = config.load(project, name, target)
    assert found.run_configuration.name == "local"
    assert found.run_configuration.place == Place("aml_config/local.runconfig")
    assert found.run_configuration.argument_vector_place == Place("aml_config/local.runconfig", 3, 17)
    assert found.compute_target.place == Place("aml_config/local.compute")
    assert found.notes == ()


def test_a_file_outside_the_project(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "other.runconfig"
    path.write_text(RUN, encoding="utf-8")
    assert config.load(project, str(path)).run_configuration.place == Place(str(path.resolve()))


def test_the_target_of_the_command_line_takes_precedence(project: Project) -> None:
    write(project, "gpu.compute", "type: local\npythonLocation: /gpu\n")
    assert config.load(project, "local", "gpu").compute_target.python_location == "/gpu"
    write(project, "local.runconfig", "Target: absent\nFramework: Python\n")
    assert config.load(project, "local", "gpu").compute_target.name == "gpu"


@pytest.mark.parametrize("name", ["lcoal", "lcoal.runconfig", "aml_config/lcoal.runconfig"])
def test_an_unknown_run_configuration(project: Project, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.load(project, name)
    assert "no run configuration" in caught.value.message
    assert caught.value.hint == "did you mean local?"


@pytest.mark.parametrize("name", ["", "..", "../local", "x\0y", "/"])
def test_invalid_names(project: Project, name: str) -> None:
    with pytest.raises(UsageError):
        config.load(project, name)
    with pytest.raises(UsageError):
        config.load_target(project, name)


def test_an_unknown_target(project: Project) -> None:
    assert errors(project, "local", "loca") == [
        "--target: error: there is no compute target 'loca' in aml_config",
        "  hint: did you mean local?",
    ]
    with pytest.raises(UsageError, match="no compute target 'loca'"):
        config.load_target(project, "loca")


def test_no_target_at_all(project: Project) -> None:
    write(project, "local.runconfig", "Framework: Python\nTarget:\n")
    assert errors(project, "local") == [
        (
            "aml_config/local.runconfig: error: "
            "Must specify a target either through run configuration or arguments"
        ),
        "  hint: use local",
    ]


def test_violations_of_both_files_at_once(project: Project) -> None:
    write(project, "vm.compute", "type: remote\naddress:\nusername: [username]\n")
    text = "Framework: Pyhton\nTarget: vm\nCondaDependenciesFile: gone.yml\nTrackedRun: 3\n"
    write(project, "vm.runconfig", text)
    assert [line for line in errors(project, "vm") if "hint" not in line] == [
        "aml_config/vm.compute:2:9: error: address is empty; a target of type remote needs it",
        "aml_config/vm.compute:3:11: error: username is a list; expected text",
        "aml_config/vm.runconfig:1:12: error: Framework is 'Pyhton'; expected Python or PySpark",
        (
            "aml_config/vm.runconfig:3:24: error: "
            "CondaDependenciesFile is 'gone.yml', but there is no such file in the project"
        ),
        "aml_config/vm.runconfig:4:13: error: TrackedRun is '3'; expected true or false",
    ]


@pytest.mark.parametrize(
    ("compute", "run", "is_wrong"),
    [
        ("type: local\n", "Framework: Python\n", False),
        ("type: local\n", "Framework: PySpark\n", False),
        ("type: local\n", "Framework: Python\nSparkDependenciesFile: gone.yml\n", False),
        ("type: local\n", "Framework: PySpark\nSparkDependenciesFile: gone.yml\n", True),
        (
            "type: local\n",
            "Framework: pyspark\nSparkDependenciesFile: aml_config/spark_dependencies.yml\n",
            True,
        ),
        ("type: local\n", "CondaDependenciesFile: aml_config\\conda_dependencies.yml\n", False),
        ("type: local\n", "CondaDependenciesFile: gone.yml\n", True),
        ("type: docker\n", "Framework: Python\n", True),
        ("type: docker\nuserManagedEnvironment: true\n", "Framework: Python\n", False),
    ],
)
def test_missing_dependencies_files(project: Project, compute: str, run: str, is_wrong: bool) -> None:
    write(project, "x.compute", compute)
    write(project, "x.runconfig", f"Target: x\n{run}")
    if is_wrong:
        assert len([line for line in errors(project, "x") if "error" in line]) == 1
    else:
        config.load(project, "x")


def test_azureml_core_finds_its_target(project: Project) -> None:
    write(
        project,
        "core.runconfig",
        "script: a.py\nenvironment: {docker: {enabled: true}, python: {userManagedDependencies: true}}\n",
    )
    assert config.load(project, "core").compute_target.kind == "docker"
    Path(project.configuration, "local.compute").unlink()
    own = config.load(project, "core").compute_target
    assert (own.kind, own.place) == ("docker", Place("aml_config/core.runconfig"))
    write(project, "core.runconfig", "script: a.py\ntarget: cpu-cluster\n")
    assert "write aml_config/" in errors(project, "core")[1]


def test_dependencies_have_their_places(project: Project) -> None:
    write(
        project,
        "c.yml",
        "channels: [conda-forge]\ndependencies:\n  - python=3.12\n  - pip:\n    - polars\n  - numpy\n",
    )
    found = config.load_conda(project, "aml_config\\c.yml")
    assert [line.text for line in found.specs] == ["python=3.12", "numpy"]
    assert found.pip[0].place == Place("aml_config/c.yml", 5, 7)
    write(project, "s.yml", "configuration:\n  a: 010\n  b:\nrepositories:\npackages:\n")
    spark = config.load_spark(project, "aml_config/s.yml")
    assert (spark.configuration, spark.repositories, spark.packages) == ((("a", "010"), ("b", "")), (), ())
    with pytest.raises(ConfigurationError, match=r"can't be read: no such file"):
        config.load_conda(project, "gone.yml")
    with pytest.raises(ConfigurationError, match="can't be read"):
        config.load_conda(project, "aml_config")


def test_warnings_travel_with_the_declaration(project: Project) -> None:
    write(project, "local.runconfig", RUN + "Colour: blue\n")
    write(project, "local.compute", "type: Local\n")
    assert [str(note.place) for note in config.load(project, "local").notes] == [
        "aml_config/local.compute:1:7",
        "aml_config/local.runconfig:4:1",
    ]


def test_a_valid_file_is_cached(project: Project) -> None:
    first = config.load(project, "local")
    assert len(entries(project)) == 2
    assert config.load(project, "local") == first
    write(project, "local.runconfig", RUN.replace("train", "other"))
    assert config.load(project, "local").run_configuration.argument_vector == ("other.py",)
    assert len(entries(project)) == 3


def test_a_file_with_violations_is_not_cached(project: Project) -> None:
    write(project, "local.runconfig", RUN + "Colour: blue\n")
    for _ in range(2):
        assert len(config.load(project, "local").notes) == 1
    assert len(entries(project)) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff", b'{"entry": "other"}', b"[" * 100_000])
def test_a_damaged_entry_is_made_again(project: Project, damage: bytes) -> None:
    first = config.load(project, "local")
    whole = {path: path.read_bytes() for path in entries(project)}
    for path in whole:
        path.write_bytes(damage)
    assert config.load(project, "local") == first
    assert {path: path.read_bytes() for path in entries(project)} == whole


def test_a_folder_that_cannot_be_written_is_no_error(project: Project) -> None:
    Path(project.state).write_text("in the way", encoding="utf-8")
    first = config.load(project, "local")
    assert config.load(project, "local") == first
    assert Path(project.state).read_text(encoding="utf-8") == "in the way"


def test_a_cached_entry_is_valid_in_any_folder(project: Project, tmp_path: Path) -> None:
    """An entry holds no path: places are those of the file that is loaded."""
    config.load(project, "local")
    write(project, "copy.runconfig", RUN)
    assert config.load(project, "copy").run_configuration.place == Place("aml_config/copy.runconfig")
    assert len(entries(project)) == 2


def test_entries_depend_on_kind_and_content() -> None:
    names = {cache.name(kind, data) for kind in schemas.KINDS for data in (b"a", b"b")}
    assert len(names) == 8


def test_a_warm_load_imports_nothing_heavy(project: Project) -> None:
    config.load(project, "local")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom amlexec.config import load as config\n"
        "project = config.find_project(Path(os.getcwd()))\nconfig.load(project, 'local')\n"
        "heavy = {'yaml', 'jsonschema', 'difflib', 'argparse', 'subprocess', 'dataclasses'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_file_that_cannot_be_read(project: Project) -> None:
    path = Path(project.configuration, "local.compute")
    path.unlink()
    path.symlink_to(path)  # a loop, which not even root can open
    write(project, "loop.runconfig", "Target: local\nFramework: Python\n")
    assert "local" in errors(project, "loop")[0]
    assert os.path.lexists(path)


class TestAzuremlFolder:
    """azureml-core kept run configurations in `.azureml/`, with a suffix and without."""

    @staticmethod
    def project(root: Path) -> Path:
        folder = root / ".azureml"
        folder.mkdir()
        (folder / "config.json").write_text('{"workspace_name": "target: x"}')
        (folder / "docker").write_text(
            "script: train.py\nframework: Python\ntarget: local\nenvironmentVariables: {A: '1', B: '2'}\n"
            "environment:\n  environmentVariables: {A: '0', C: '3'}\n  docker: {enabled: true}\n"
            "  python: {condaDependenciesFile: needs.yml}\n"
        )
        (folder / "gpu.runconfig").write_text("script: train.py\ntarget: gpu-cluster\n")
        (folder / "needs.yml").write_text("dependencies: [python]\n")
        return root

    def test_is_the_folder_of_declarations(self, tmp_path: Path) -> None:
        project = config.find_project(self.project(tmp_path))
        assert project.folder == ".azureml"
        assert config.run_configurations(project) == ("docker", "gpu")
        assert declarations(project) == [".azureml/docker", ".azureml/gpu.runconfig", ".azureml/needs.yml"]
        assert declared.files(project) == declarations(project)
        found = config.load(project, "docker")
        assert found.compute_target.kind == "docker"
        assert str(found.run_configuration.place) == ".azureml/docker"
        # The folder of the run configuration is searched after the project's root.
        assert found.run_configuration.conda_dependencies_file == ".azureml/needs.yml"
        assert dict(found.run_configuration.environment_variables) == {"A": "1", "B": "2", "C": "3"}

    def test_a_target_in_the_cloud(self, tmp_path: Path) -> None:
        project = config.find_project(self.project(tmp_path))
        (violation,) = violations(project, [".azureml/gpu.runconfig"])
        assert violation.lines() == [
            (
                ".azureml/gpu.runconfig:2:9: error: target is 'gpu-cluster', but there is no "
                ".azureml/gpu-cluster.compute"
            ),
            (
                "  hint: run here with -t local, `amlexec computetarget attach` a machine with -n gpu-cluster"
                ", or write .azureml/gpu-cluster.compute"
            ),
        ]
        with pytest.raises(ConfigurationError, match="target is 'gpu-cluster'"):
            config.load(project, "gpu")

    def test_aml_config_takes_precedence(self, tmp_path: Path) -> None:
        self.project(tmp_path)
        (tmp_path / "aml_config").mkdir()
        assert config.find_project(tmp_path).folder == "aml_config"

    def test_without_a_run_configuration_it_is_ignored(self, tmp_path: Path) -> None:
        (tmp_path / ".azureml").mkdir()
        (tmp_path / ".azureml" / "config.json").write_text('{"target": "x"}')
        with pytest.raises(ConfigurationError, match="there is no aml_config folder"):
            config.find_project(tmp_path)


def test_messages_spell_a_key_as_its_file_does(tmp_path: Path) -> None:
    (tmp_path / "aml_config").mkdir()
    (tmp_path / "aml_config" / "a.runconfig").write_text(
        "script: a.py\nenvironment:\n  python: {interpreterPath: ./nothing}\n  docker: {baseImage: 'a:1'}\n"
    )
    project = config.find_project(tmp_path)
    target = config.load(project, "a").compute_target
    assert str(target.where("baseDockerImage")) == "aml_config/a.runconfig:4:23"
    assert target.key("baseDockerImage") == "environment.docker.baseImage"
    with pytest.raises(ConfigurationError) as caught:
        local_python.find(project, target)
    assert caught.value.lines()[0] == (
        "aml_config/a.runconfig:3:29: error: environment.python.interpreterPath is './nothing', "
        "but there is no such program"
    )
    (tmp_path / "aml_config" / "local.compute").write_text("type: local\npythonLocation: ./other\n")
    with pytest.raises(ConfigurationError, match="interpreterPath"):
        local_python.find(project, config.load(project, "a").compute_target)
    with pytest.raises(ConfigurationError, match=r"pythonLocation is './other'"):
        local_python.find(project, config.load_target(project, "local"))
