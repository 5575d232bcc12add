"""doit's commands in a project: no traceback, amlexec's messages, and the right exit code."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, ProjectFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    """A project that no case changes."""
    made = ProjectFolder(tmp_path_factory.mktemp("doors") / "demo")
    made.write("train.py", "print('hello')\n")
    made.write("aml_config/docker.compute", "type: docker\n")
    made.write("aml_config/docker.runconfig", "Target: docker\nFramework: Python\n")
    made.write("aml_config/conda_dependencies.yml", "dependencies:\n  - python\n")
    assert made.doit("lint", "prepare:local").code == 0
    return made


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        # Unknown tasks.
        (["submit:dokcer", "script=train.py"], 3, "did you mean submit:docker?"),
        (["prepare:dokcer"], 3, "did you mean prepare:docker?"),
        (["submit:docker", "submit:loacl", "script=train.py"], 3, "did you mean submit:local?"),
        (["info", "submit:dokcer"], 3, "did you mean submit:docker?"),
        (["info", "prepare:x"], 3, "there is no task prepare:x"),
        (["list", "prepar"], 3, "did you mean prepare?"),
        (["clean", "prepare:dokcer"], 3, "did you mean prepare:docker?"),
        (["forget", "prepare:dokcer"], 3, "did you mean prepare:docker?"),
        (["ignore", "prepare:dokcer"], 3, "did you mean prepare:docker?"),
        (["reset-dep", "lnit"], 3, "did you mean lint?"),
        (["help", "sumbit"], 3, "did you mean submit?"),
        (["lits"], 3, "did you mean list"),
        (["auto"], 3, "there is no task or command auto"),
        # Words that are meant for the script.
        (["submit:local", "script=train.py", "--lr", "0.1"], 3, "script=train.py args='--lr 0.1'"),
        (["submit:local", "script=train.py", "--lr=0.1"], 3, "args=--lr=0.1"),
        (["submit:local", "script=train.py", "args=--a", "--lr", "a b"], 3, "args='--a --lr '\"'\"'a b'"),
        (["submit:local", "script=train.py", "0.1"], 3, "args=0.1"),
        (["submit:local", "train.py"], 3, "doit submit:local script=train.py"),
        (["submit:local", "train.py", "--lr", "1"], 3, "script=train.py args='--lr 1'"),
        (["submit:local", "script=train.py", "-n", "2"], 3, "doit's own options come first"),
        (["prepare:local", "--force"], 3, "prepare:local takes no options"),
        (["submit:local", "script=train.py", "lr=0.1"], 3, "unknown variable lr="),
        # `doit submit` would submit a run for each configuration.
        (["submit", "script=train.py"], 3, "name one: doit submit:local script=train.py"),
        (["submit"], 3, "this project has 2: docker, local"),
        (["-n", "2", "submit", "script=train.py"], 3, "name one: "),
        # Other commands of doit.
        (["list"], 0, "prepare"),
        (["list", "-q"], 0, "submit"),
        (["list", "--all", "--status"], 0, "U prepare:local"),
        (["info", "lint"], 1, "This is a group"),
        (["info", "submit:local"], 1, "Each submit is a new run"),
        (["info", "prepare:docker"], 1, "it was never prepared here"),
        (["info", "prepare:local"], 0, "reason     : the environment of a local target is yours"),
        (["info", "lint:aml_config/local.compute"], 0, "up-to-date"),
        (["info"], 3, "must select *one* task"),
        (["help", "submit"], 0, "script=SCRIPT args=ARGUMENTS"),
        (["help", "submit:local"], 0, "local.runconfig"),
        (["clean"], 0, "doit clean prepare"),
        (["clean", "-n", "prepare:local"], 0, "nothing to remove"),
        (["tabcompletion"], 0, "sub_cmds="),
        (["strace"], 3, "must select *one* task"),
        (["ignore"], 0, "select a task"),
        (["forget", "submit:local"], 0, "forgetting submit:local"),
        (["-v0", "lint"], 0, "lint:aml_config/local.compute"),
        (["--continue", "lint"], 0, "lint:aml_config/local.compute"),
        (["-r", "zero", "submit:local", "script=nope.py"], 3, ""),
        (["-r", "error-only", "submit:local", "script=nope.py"], 3, "there is no script 'nope.py'"),
        (["-r", "executed-only", "submit:local", "script=nope.py"], 3, "there is no script 'nope.py'"),
        (["-r", "json", "submit:local", "script=nope.py"], 3, "there is no script 'nope.py'"),
        (["-f", "nope.py", "lint"], 3, "Could not find dodo file"),
        (["-d", "/", "lint"], 3, "there is no aml_config folder"),
        (["-d", "/nope", "lint"], 3, "must be a directory"),
        (["dumpdb"], 0, "lint:aml_config/local.compute -> "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_of_doit(shared: ProjectFolder, words: list[str], code: int, says: str) -> None:
    done = shared.doit(*words)
    assert (done.code, "Traceback" in done.out + done.err) == (code, False), done.out + done.err
    assert says in done.out + done.err
    assert " at 0x" not in done.out + done.err
    assert shared.run_ids() == []


def test_bare_doit_lints_and_lists_other_tasks(project: ProjectFolder) -> None:
    done = project.doit()
    assert done.code == 0, done.err
    assert ".  lint:aml_config/local.compute" in done.out
    assert "  doit submit:local script=SCRIPT  run a script with local.runconfig\n" in done.out
    project.write("aml_config/local.compute", "type: loacl\n")
    failed = project.doit()
    assert failed.code == 3
    assert "What else" not in failed.out


def test_one_run_configuration_needs_no_name(project: ProjectFolder) -> None:
    project.write("train.py", "print('hello')\n")
    assert "hello" in project.doit("submit", "script=train.py").out
    (project.configuration / "local.runconfig").unlink()
    done = project.doit("submit", "script=train.py")
    assert (done.code, "there are no run configurations yet" in done.err) == (3, True)


def test_a_failure_ends_with_its_own_message(project: ProjectFolder) -> None:
    project.write("train.py", "raise SystemExit(9)\n")
    done = project.doit("submit", "script=train.py")
    assert done.code == 1
    assert done.out.endswith("Status: Failed (exit code 9)\n"), "doit adds nothing"
    assert done.err.splitlines()[-1].startswith("  hint: its log: ")
    project.write(
        "dodo.py",
        "from amlexec.tasks import *  # noqa: F403\n"
        "def task_after():\n    return {'actions': ['echo x'], 'task_dep': ['submit:local']}\n"
        "def task_other():\n    return {'actions': ['false']}\n",
    )
    done = project.doit("after", "script=train.py")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "after: not run, because submit:local did not succeed"
    done = project.doit("other", "lint")
    assert done.code == 1
    assert "TaskFailed - taskid:other" in done.out, "a failure of the user's own task has doit's format"


def test_results_as_json(project: ProjectFolder) -> None:
    project.write("train.py", "print('größe')\n")
    done = project.doit("-r", "json", "submit:local", "script=train.py")
    assert done.code == 0, done.out
    told = json.loads(done.out)
    assert told["tasks"][0]["result"] == "success"
    assert "größe\n" in told["out"]


def test_a_state_in_use_is_waited_for(project: ProjectFolder) -> None:
    assert project.doit("lint").code == 0
    held = sqlite3.connect(project.root / ".amlexec/doit.db")
    held.execute("begin exclusive")
    process = project.start(sys.executable, "-m", "doit", "lint")
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    held.rollback()
    held.close()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert b"-- lint:aml_config/local.compute" in out, "its content is still valid"
    assert said.startswith("waiting for doit's state, .amlexec/doit.db: ")
    if sys.platform == "linux":
        assert f"process {os.getpid()} (" in said
    assert not (project.root / ".amlexec/doit.db.damaged").exists()


def test_a_failed_task_leaves_no_lock_for_the_next_one(project: ProjectFolder) -> None:
    project.write("aml_config/local.compute", "type: loacl\n")
    project.write(
        "wait.py", "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)\n"
    )
    project.write(
        "dodo.py",
        "from amlexec.tasks import *  # noqa: F403\nimport sys\n"
        "def task_wait():\n"
        "    return {'actions': ['echo begun', [sys.executable, 'wait.py']], 'verbosity': 2}\n",
    )
    process = project.start(sys.executable, "-m", "doit", "lint", "wait")
    assert process.stdout is not None
    while process.stdout.readline() != b"begun\n":
        pass
    project.write("aml_config/local.compute", "type: local\n")
    other = project.doit("lint")
    project.write("go", "")
    process.communicate()
    assert (other.code, other.err) == (0, ""), other.err


@pytest.fixture
def read_only(project: ProjectFolder, small_disk: Path) -> Iterator[ProjectFolder]:
    """A read-only project."""
    made = ProjectFolder(small_disk / "demo")
    made.write("train.py", "print('hello')\n")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    yield made
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_a_read_only_project(read_only: ProjectFolder) -> None:
    for words in (
        ["list", "--all", "--status"],
        ["info", "--no-status", "prepare:local"],
        ["lint"],
        ["prepare"],
        ["clean", "-n"],
    ):
        done = read_only.doit(*words)
        assert done.code == 0, (words, done.err)
    assert "can't be written" in read_only.doit("ignore", "prepare:local").err
    done = read_only.doit("submit:local", "script=train.py")
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert "read-only file system" in done.err
