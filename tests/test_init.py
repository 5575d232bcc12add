"""`amlexec init`: created files, kept files, and errors."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from amlexec.errors import TargetError, UsageError
from amlexec.scaffold import make

FILES = [
    "aml_config/local.compute",
    "aml_config/local.runconfig",
    "aml_config/docker.compute",
    "aml_config/docker.runconfig",
    "aml_config/conda_dependencies.yml",
    "aml_config/spark_dependencies.yml",
    "dodo.py",
    ".amlignore",
    ".gitignore",
]


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
runpy.run_module("amlexec", run_name="__main__", alter_sys=True)
"""


def init(*arguments: str, cwd: Path, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process, in which files are limited to `largest_file` bytes."""
    program = ["-m", "amlexec"] if largest_file is None else ["-c", LIMITED, str(largest_file)]
    return subprocess.run(
        [sys.executable, "-B", *program, "init", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_creates_every_file_and_prints_what_to_type(tmp_path: Path) -> None:
    done = init(cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"created {name}" for name in FILES])
    assert sorted(files(tmp_path)) == sorted(FILES)
    assert done.stderr.splitlines() == [
        "",
        "What to type next:",
        "",
        "  doit list --all",
        "  doit submit:local script=train.py",
        "  amlexec experiment submit -c local train.py",
    ]


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = files(tmp_path)
    done = init(cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (0, [f"kept    {name}" for name in FILES])
    assert files(tmp_path) == before
    assert ".gitignore" not in done.stderr


def test_creates_a_folder_with_blanks_and_prints_its_cd(tmp_path: Path) -> None:
    done = init("my first/project's", cwd=tmp_path)
    assert done.returncode == 0
    assert sorted(files(tmp_path / "my first" / "project's")) == sorted(FILES)
    assert """  cd 'my first/project'"'"'s'""" in done.stderr.splitlines()


def test_keeps_existing_files_and_the_rules_of_git(tmp_path: Path) -> None:
    (tmp_path / "aml_config").mkdir()
    (tmp_path / "aml_config" / "local.compute").write_text("type: local\n")
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    (tmp_path / "dodo.py").symlink_to("nowhere.py")
    done = init(cwd=tmp_path)
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("kept")] == [
        "kept    aml_config/local.compute",
        "kept    dodo.py",
        "kept    .gitignore",
    ]
    # An .amlignore would replace its rules, and add the ignored files to runs.
    assert not (tmp_path / ".amlignore").exists()
    assert "Runs leave out what .gitignore excludes" in done.stderr
    assert (tmp_path / "aml_config" / "local.compute").read_text() == "type: local\n"
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n"
    assert (tmp_path / "dodo.py").readlink() == Path("nowhere.py")
    assert not (tmp_path / "nowhere.py").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_file_in_the_folders_place(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    done = init(place, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "file: error: a project needs a folder here, but this is not one",
        "  hint: name another folder: amlexec init FOLDER",
    ]
    assert files(tmp_path) == {"file": b"mine"}


def test_a_file_in_the_place_of_aml_config(tmp_path: Path) -> None:
    (tmp_path / "aml_config").write_text("mine")
    with pytest.raises(UsageError) as caught:
        make(tmp_path)
    assert caught.value.where == str(tmp_path / "aml_config")
    assert files(tmp_path) == {"aml_config": b"mine"}


def test_a_full_disk_leaves_no_unfinished_file(tmp_path: Path) -> None:
    done = init(cwd=tmp_path, largest_file=600)
    assert done.returncode == 2
    assert "error: cannot write the project's files: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "whole").mkdir()
    whole = files(make(tmp_path / "whole").folder)
    left = {name: content for name, content in files(tmp_path).items() if not name.startswith("whole/")}
    assert left == {name: content for name, content in whole.items() if name in left}
    assert 0 < len(left) < len(whole)
    assert init(cwd=tmp_path).returncode == 0
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == whole


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    # Even root can't create folders there.
    with pytest.raises(TargetError) as caught:
        make(Path(f"/proc/{os.getpid()}/fd/project") if Path("/proc").exists() else Path("/dev/fd/project"))
    assert caught.value.hint


def test_two_at_once_create_one_project(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: init(cwd=tmp_path), range(4)))
    assert [done.returncode for done in ended] == [0] * 4
    created = [line for done in ended for line in done.stdout.splitlines() if line.startswith("created")]
    assert sorted(created) == sorted(f"created {name}" for name in FILES)
    assert sorted(files(tmp_path)) == sorted(FILES)


def test_the_files_are_explained(tmp_path: Path) -> None:
    made = make(tmp_path)
    for name in made.created[:6]:
        text = (tmp_path / name).read_text(encoding="utf-8")
        kind = name.rpartition(".")[2] if not name.endswith(".yml") else Path(name).stem
        first = (
            "# yaml-language-server: $schema=https://amlexec.readthedocs.io/en/latest/schemas/"
            f"{kind}.schema.json"
        )
        assert text.splitlines()[0] == first
        for key in yaml.safe_load(text):
            lines = text.splitlines()
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{key}:"))
            assert lines[at - 1].startswith("#"), f"{name}: {key} is not explained"
    assert yaml.safe_load((tmp_path / "aml_config/docker.runconfig").read_text()) == {
        "ArgumentVector": ["$file"],
        "Target": "docker",
        "EnvironmentVariables": None,
        "Framework": "Python",
        "CondaDependenciesFile": "aml_config/conda_dependencies.yml",
        "SparkDependenciesFile": "aml_config/spark_dependencies.yml",
        "PrepareEnvironment": False,
        "TrackedRun": True,
    }
    assert "from amlexec.tasks import *  # noqa: F403\n" in (tmp_path / "dodo.py").read_text()


def test_the_example_is_a_project_of_init(tmp_path: Path) -> None:
    make(tmp_path)
    example = Path(__file__).parent.parent / "examples" / "iris"
    # Its dependencies are its own.
    kept = [name for name in FILES if name != "aml_config/conda_dependencies.yml"]
    made = files(tmp_path)
    assert {name: (example / name).read_bytes() for name in kept} == {name: made[name] for name in kept}
