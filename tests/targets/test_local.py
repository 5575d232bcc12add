"""Runs on the local target, through the command line."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, ProjectFolder, until_printed

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_script_runs_and_is_recorded(project: ProjectFolder) -> None:
    project.write("train.py", "import sys\nprint('hello', *sys.argv[1:])\nprint('talk', file=sys.stderr)\n")
    done = project.submit("train.py", "--lr", "0.1")
    assert done.code == 0, done.err
    assert "hello --lr 0.1\n" in done.out
    assert "talk\n" in done.err
    assert f"Python {'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})" in done.out
    assert done.out.index("Executing user inputs") < done.out.index("hello") < done.out.index("Execution Det")
    record = project.record(done.run_id)
    assert record["status"] == "Completed"
    assert record["exit_code"] == 0
    assert record["script_name"] == "train.py"
    assert record["arguments"] == ["--lr", "0.1"]
    assert record["argv"] == [sys.executable, "train.py", "--lr", "0.1"]
    assert record["python"]["path"] == sys.executable
    assert record["snapshot"]["files"] >= 4
    assert record["created_utc"] <= record["start_time_utc"] <= record["end_time_utc"]
    folder = project.run_folder(done.run_id)
    assert (folder / "stdout.log").read_text() == "hello --lr 0.1\n"
    assert (folder / "stderr.log").read_text() == "talk\n"


def test_the_script_runs_in_a_copy(project: ProjectFolder) -> None:
    project.write("data/x.txt", "there")
    project.write(
        "train.py",
        "import os\nprint(os.getcwd())\nprint(open('data/x.txt').read())\nopen('new.txt', 'w').close()\n"
        "open('data/x.txt', 'w').write('changed')\n",
    )
    before = sorted(path for path in project.root.rglob("*") if ".amlexec" not in path.parts)
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert str(project.run_folder(done.run_id) / "project") in done.out
    assert (project.root / "data/x.txt").read_text() == "there"
    assert sorted(path for path in project.root.rglob("*") if ".amlexec" not in path.parts) == before


def test_outputs_are_collected_after_the_script_changed_directory(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import os\nos.makedirs('./outputs/deep', exist_ok=True)\nopen('outputs/a.txt', 'w').write('a')\n"
        "open('outputs/deep/b.txt', 'w').write('bb')\nos.chdir('/')\n",
    )
    done = project.submit("train.py")
    outputs = project.run_folder(done.run_id) / "outputs"
    assert (outputs / "a.txt").read_text() == "a"
    assert (outputs / "deep/b.txt").read_text() == "bb"
    assert project.record(done.run_id)["outputs"] == {"files": 2, "bytes": 3}
    assert f"Outputs: 2 files in {outputs}" in done.out


def test_the_record_has_the_exit_code_of_a_failing_script(project: ProjectFolder) -> None:
    project.write("train.py", "raise SystemExit(7)\n")
    done = project.submit("train.py")
    assert done.code == 1
    assert "train.py: error: the script failed: exit code 7" in done.err
    record = project.record(done.run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 7)
    assert (project.run_folder(done.run_id) / "project").is_dir(), "the copy may show why"


def test_signals_are_as_in_a_shell(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import signal\nassert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "import sys\nassert sys.stdin.read() == ''\n",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err


def test_without_a_script_the_argument_vector_runs(project: ProjectFolder) -> None:
    project.write(
        "aml_config/local.runconfig",
        'Target: local\nFramework: Python\nArgumentVector: ["train.py", 234, "--name", "a b"]\n',
    )
    project.write("train.py", "import sys\nprint(sys.argv[1:])\n")
    done = project.submit()
    assert "['234', '--name', 'a b']" in done.out
    done = project.submit("train.py", "other")
    assert "['other']" in done.out, "a script on the command line stands for the whole vector"


def test_file_left_over_is_an_error_that_names_the_key(project: ProjectFolder) -> None:
    project.write(
        "aml_config/local.runconfig", 'Target: local\nFramework: Python\nArgumentVector:\n  - "$file"\n'
    )
    done = project.submit()
    assert done.code == 3
    assert "aml_config/local.runconfig:" in done.err
    assert "ArgumentVector has $file" in done.err
    assert "hint: name one" in done.err
    assert project.run_ids() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--", "-c", "local", "--help", "-t"],
        ["a b", "it's", '"', "$HOME", "x=1", "", "new\nline", "*", "\\", "--async", "ü", "-"],
    ],
)
def test_arguments_reach_the_script_unchanged(project: ProjectFolder, arguments: list[str]) -> None:
    project.write("train.py", "import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    done = project.submit("train.py", *arguments)
    assert done.code == 0, done.err
    assert json.dumps(arguments) in done.out
    assert project.record(done.run_id)["arguments"] == arguments


@pytest.mark.parametrize("name", ["a 0", 'a"=0"', "a'; echo foo", "new\nline", "$HOME", "ünï", "-x"])
def test_names_with_anything_in_them(new_project: Callable[[str], ProjectFolder], name: str) -> None:
    project = new_project(name)
    project.write(
        f"{name}.py", "import os\nos.makedirs('outputs', exist_ok=True)\nopen('outputs/x', 'w').close()\n"
    )
    extra = ["--"] if name.startswith("-") else []
    done = project.submit(*extra, f"{name}.py")
    assert done.code == 0, done.err
    record = project.record(done.run_id)
    assert record["script_name"] == f"{name}.py"
    assert (project.run_folder(done.run_id) / "outputs/x").exists()


def test_a_script_in_a_folder_from_a_folder(project: ProjectFolder) -> None:
    project.write("src/train.py", "import os\nprint(os.path.basename(os.getcwd()))\n")
    done = project.submit("src/train.py")
    assert "\nproject\n" in done.out, "the working directory is the copy's root"
    done = project.submit("train.py", cwd=project.root / "src")
    assert done.code == 0, done.err
    assert project.record(done.run_id)["script_name"] == "src/train.py"


def test_async_status_and_following(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists(os.environ['GO']):\n"
        "    time.sleep(0.02)\nprint('done')\n",
    )
    go = project.root.parent / "go"
    environment = {**os.environ, "GO": str(go)}
    done = project.submit("--async", "train.py", env=environment)
    assert done.code == 0, done.err
    assert f"amlexec experiment status -r {done.run_id}" in done.err
    log = project.run_folder(done.run_id) / "stdout.log"
    until_printed(log, b"begun\n")
    status = project.amlexec("experiment", "status", "-r", done.run_id)
    assert f"{done.run_id}  Running" in status.out
    assert project.record(done.run_id)["end_time_utc"] is None
    follower = project.start(sys.executable, "-m", "amlexec", "experiment", "follow", "-r", done.run_id)
    go.touch()
    out, err = follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0, err
    assert b"begun\ndone\n" in out
    assert project.record(done.run_id)["status"] == "Completed"


def test_background_processes_end_with_the_script(project: ProjectFolder) -> None:
    project.write(
        "train.py",
        "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)\n",
    )
    done = project.submit("train.py")
    assert done.code == 0, done.err
    folder = project.run_folder(done.run_id)
    assert not _runs((folder / "stdout.log").read_text().strip())
    assert "stopping what the script left running" in (folder / "control.log").read_text()


def test_clean_removes_copies_and_keeps_records(project: ProjectFolder) -> None:
    project.write("train.py", "raise SystemExit(1)\n")
    run_id = project.submit("train.py").run_id
    folder = project.run_folder(run_id)
    assert (folder / "project").exists()
    done = project.amlexec("experiment", "clean", "--all")
    assert done.code == 0, done.err
    assert "1 copy" in done.err
    assert not (folder / "project").exists()
    assert project.record(run_id)["status"] == "Failed"


def test_two_submits_at_once_are_two_runs(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    command = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "local", "train.py")
    together = [project.start(*command) for _ in range(8)]
    ended = [process.communicate(timeout=PATIENCE) for process in together]
    assert [process.returncode for process in together] == [0] * 8, ended
    assert len(project.run_ids()) == 8
    assert {project.record(run_id)["status"] for run_id in project.run_ids()} == {"Completed"}


def test_a_declared_interpreter(project: ProjectFolder) -> None:
    link = project.root.parent / "my python"
    link.symlink_to(sys.executable)
    project.write("aml_config/local.compute", f'type: local\npythonLocation: "{link}"\n')
    project.write("train.py", "import sys\nprint(sys.executable)\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert f"({link})" in done.out
    assert project.record(done.run_id)["python"]["version"] == ".".join(map(str, sys.version_info[:3]))


def test_the_active_environment_is_what_python_means(project: ProjectFolder, tmp_path: object) -> None:
    active = project.root.parent / "active"
    (active / "bin").mkdir(parents=True)
    (active / "bin/python").symlink_to(sys.executable)
    project.write("train.py", "print('x')\n")
    done = project.submit("train.py", env={**os.environ, "VIRTUAL_ENV": str(active)})
    assert project.record(done.run_id)["python"]["path"] == f"{active}/bin/python"


def _runs(pid: str) -> bool:
    """Whether the process does not end, however long one waits; a zombie has ended."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.05)
    return True
