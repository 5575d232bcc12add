"""amlexec's tasks in a project's dodo.py."""

from __future__ import annotations

import resource
import signal
import sys
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE, ProjectFolder, until_begun

if TYPE_CHECKING:
    from collections.abc import Callable


def test_submit_runs_a_script(project: ProjectFolder) -> None:
    project.write("train.py", "import sys\nprint('hello', sys.argv[1:])\n")
    done = project.doit("submit:local", "script=train.py", "args=--lr 0.1 'a b'")
    assert done.code == 0, done.err
    assert "hello ['--lr', '0.1', 'a b']" in done.out
    record = project.record(done.run_id)
    assert record["arguments"] == ["--lr", "0.1", "a b"]
    assert record["status"] == "Completed"


def test_submit_is_never_up_to_date(project: ProjectFolder) -> None:
    project.write("train.py", "print('hello')\n")
    for _ in range(2):
        assert "hello" in project.doit("submit:local", "script=train.py").out
    assert len(project.run_ids()) == 2


def test_from_another_folder(project: ProjectFolder) -> None:
    project.write("train.py", "print('hello')\n")
    done = project.doit(
        "-f", str(project.root / "dodo.py"), "submit:local", "script=train.py", cwd=project.root.parent
    )
    assert done.code == 0, done.err
    assert "hello" in done.out


def test_an_unknown_variable(project: ProjectFolder) -> None:
    project.write("train.py", "print('x')\n")
    done = project.doit("submit:local", "srcipt=train.py")
    assert done.code == 3
    assert "unknown variable srcipt=" in done.err
    assert "did you mean script=?" in done.err
    assert project.run_ids() == []
    done = project.doit("lint", "script=train.py")
    assert done.code == 3
    assert "take no variables" in done.err


def test_a_dodo_with_its_own_variables(project: ProjectFolder) -> None:
    project.write(
        "dodo.py",
        "from doit import get_var\nfrom amlexec.tasks import *  # noqa: F403\n"
        "from amlexec.tasks import variables\nvariables('who')\ndef task_greet():\n"
        "    return {'actions': ['echo hello %s' % get_var('who', 'you')], 'verbosity': 2}\n",
    )
    assert "hello me" in project.doit("greet", "who=me").out
    assert project.doit("greet", "whom=me").code == 3


def test_a_submit_without_a_script(project: ProjectFolder) -> None:
    project.write(
        "aml_config/local.runconfig", 'Target: local\nFramework: Python\nArgumentVector: ["$file"]\n'
    )
    done = project.doit("submit:local")
    assert done.code == 3
    assert "there is no script to run" in done.err
    assert "script=SCRIPT" in done.err
    assert "Traceback" not in done.err


def test_exit_codes(project: ProjectFolder) -> None:
    project.write("train.py", "raise SystemExit(9)\n")
    done = project.doit("submit:local", "script=train.py")
    assert done.code == 1
    assert "train.py: error: the script failed: exit code 9" in done.err
    project.write("aml_config/local.compute", "type: local\npythonLocation: /bin/false\n")
    assert project.doit("submit:local", "script=train.py").code == 2
    project.write("aml_config/local.compute", "type: loacl\n")
    done = project.doit("submit:local", "script=train.py")
    assert done.code == 3
    assert "local.compute:1:" in done.err


def test_ctrl_c_detaches(project: ProjectFolder) -> None:
    project.write("train.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    process = project.start(sys.executable, "-m", "doit", "submit:local", "script=train.py")
    until_begun(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    code = process.wait(PATIENCE)
    said = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    (run_id,) = project.run_ids()
    assert code == 130
    assert f"amlexec experiment cancel -r {run_id}" in said
    assert "Traceback" not in said
    assert project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "1").code == 0


def test_lint_checks_only_what_changed(project: ProjectFolder) -> None:
    first = project.doit("lint")
    assert first.code == 0, first.err
    assert ".  lint:aml_config/local.compute" in first.out
    assert "-- lint:aml_config/local.compute" in project.doit("lint").out
    project.write("aml_config/local.compute", "type: local  # a word\n")
    changed = project.doit("lint")
    assert ".  lint:aml_config/local.compute" in changed.out
    assert "-- lint:aml_config/local.runconfig" in changed.out


def test_lint_sees_that_a_target_was_removed(project: ProjectFolder) -> None:
    assert project.doit("lint").code == 0
    (project.root / "aml_config/local.compute").unlink()
    done = project.doit("lint")
    assert done.code == 3
    assert "aml_config/local.runconfig:1:" in done.err


def test_lint_checks_again_if_a_referenced_file_changes(project: ProjectFolder) -> None:
    """The target's file decides whether a dependencies file is needed."""
    assert project.doit("lint").code == 0
    project.write("aml_config/local.compute", "type: docker\n")
    done = project.doit("lint")
    assert done.code == 3
    assert "there is no aml_config/conda_dependencies.yml" in done.err
    project.write("aml_config/conda_dependencies.yml", "dependencies: []\n")
    assert project.doit("lint").code == 0


def test_lint_takes_linear_time(project: ProjectFolder) -> None:
    """At most three times as long as `amlexec lint`, which reads each file once: it was 50 times with 400."""
    for number in range(400):
        project.write(
            f"aml_config/r{number}.runconfig",
            f"Target: local\nFramework: Python\nArgumentVector: [train.py, '{number}']\n",
        )
    alone = _seconds(project, "amlexec")
    assert _seconds(project, "doit") < 3 * alone + 1
    project.write("aml_config/r7.runconfig", "Target: local\nFramework: Python\n")
    checked = [line for line in project.doit("lint").out.splitlines() if line[0] == "."]
    assert checked == [".  lint:aml_config/r7.runconfig"]


def _seconds(project: ProjectFolder, module: str) -> float:
    """The CPU time of `lint`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = project.call(sys.executable, "-m", module, "lint")
    assert done.code == 0, done.err
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_target_that_cannot_run_is_one_line_of_prepare(project: ProjectFolder) -> None:
    project.write("aml_config/batchai.compute", "type: batchai\n")
    project.write("aml_config/batchai.runconfig", "Target: batchai\nFramework: Python\n")
    project.write("aml_config/conda_dependencies.yml", "dependencies: []\n")
    done = project.doit("prepare")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("batchai: ")]
    assert line.startswith("batchai: nothing to do, compute target 'batchai' is of type batchai")
    again = project.doit("prepare").out
    assert "-- prepare:batchai (compute target 'batchai' is of type batchai" in again
    assert "-- prepare:local" in again
    named = project.doit("prepare:batchai")
    assert named.code == 3
    assert "is of type batchai" in named.err


def test_list_works_with_a_broken_file(project: ProjectFolder) -> None:
    project.write("aml_config/docker.runconfig", "Target: [\n")
    done = project.doit("list", "--all")
    assert done.code == 0, done.err
    assert "submit:docker" in done.out
    assert "lint:aml_config/docker.runconfig" in done.out
    assert project.doit("lint").code == 3


def test_outside_a_project(new_project: Callable[[str], ProjectFolder]) -> None:
    project = new_project("x")
    (project.root / "aml_config").rename(project.root / "other")
    done = project.doit("list")
    assert done.code == 3
    assert "amlexec init" in done.err
