"""A command that the tests fork is the same as one that they start afresh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, until_begun
from tests.support import commands
from tests.support.forked_programs import path_with_programs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="commands are forked on Linux only")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("amlexec", ("--version",)),
        ("amlexec", ("experiment", "--help")),
        ("amlexec", ("expirement",)),
        ("amlexec", ("experiment", "status", "-r", "last", "-o", "json")),
        ("amlexec", ("lint",)),
        ("doit", ("list", "--all")),
        ("doit", ("--version",)),
        ("doit", ("submit:locla",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_it_prints_the_same_and_ends_with_the_same_code(
    project: ProjectFolder, module: str, words: tuple[str, ...]
) -> None:
    project.write("aml_config/broken.runconfig", "Target: ∑\nFramework: Pyhton\n")
    fresh = project.call(sys.executable, "-m", module, *words)
    code, out, err = commands.run_forked(module, words, project.root, os.environ, 60.0)
    assert (code, out.decode(), err.decode()) == fresh


def test_a_script_that_it_runs_has_its_environment_and_its_folder(
    project: ProjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLY_HERE", "yes")
    project.write(
        "dodo.py",
        "import json, os, sys\n"
        "def tell():\n"
        "    told = [os.getcwd(), sys.argv[1:], dict(os.environ), sys.path[0], sys.stdin.read(), __name__]\n"
        # Newer versions of libffi keep their own file open, here since it was imported.
        "    links = [os.path.realpath(f'/proc/self/fd/{name}') for name in os.listdir('/proc/self/fd')]\n"
        "    print(json.dumps([*told, len([link for link in links if 'libffi' not in link])]))\n"
        "def task_tell():\n    return {'actions': [tell], 'verbosity': 2}\n",
    )
    fresh = project.call(sys.executable, "-m", "doit", "tell")
    assert '"ONLY_HERE": "yes"' in fresh.out
    for path in project.root.glob(".doit.db*"):  # of dbm.sqlite3: three
        path.unlink()
    _, out, _ = commands.run_forked("doit", ("tell",), project.root, os.environ, 60.0)
    assert out.decode() == fresh.out


def test_what_python_reads_as_it_starts_is_for_a_fresh_one(tmp_path: Path) -> None:
    assert commands.can_fork(os.environ) is not commands.FRESH
    for name in ("PYTHONPATH", "PYTHONIOENCODING", "LC_ALL", "LANG", "TZ"):
        assert not commands.can_fork({**os.environ, name: "x"}), name
    without = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    assert commands.can_fork(without) is (not commands.FRESH and without == os.environ)


def test_a_program_of_a_shell_script_is_the_same_command(project: ProjectFolder, tmp_path: Path) -> None:
    script = (
        "export TOLD='a \"b\" \\ é'; mkdir -p deep; cd deep; cp ../dodo.py .\n"
        "echo given | doit tell word; echo $?; amlexec expirement; echo $?; doit fail; echo $?\n"
        "doit die; echo $?; amlexec --version | cat\n"
    )
    project.write(
        "dodo.py",
        "import os, signal, sys\n"
        "def tell():\n    print(os.environ['TOLD'], os.getcwd(), sys.argv[1:], sys.stdin.read())\n"
        "def task_tell():\n    return {'actions': [tell], 'verbosity': 2, 'pos_arg': 'words'}\n"
        "def task_fail():\n    return {'actions': ['false']}\n"
        "def task_die():\n    return {'actions': [lambda: os.kill(os.getpid(), signal.SIGKILL)]}\n",
    )
    fresh = project.call("sh", "-c", script)
    assert ("given" in fresh.out, "\n137\n" in fresh.out) == (True, True), fresh
    for path in project.root.glob("deep/.doit.db*"):
        path.unlink()
    path = path_with_programs(tmp_path / "programs")
    forked = project.call("sh", "-c", script, env={**os.environ, "PATH": path})
    assert (path != os.environ["PATH"]) is not commands.FRESH
    assert forked._replace(err=_without_name(forked.err)) == fresh._replace(err=_without_name(fresh.err))


def _without_name(said: str) -> str:
    """Shells tell of a program that was killed, in their own words."""
    return "\n".join(line for line in said.splitlines() if "Killed" not in line)


def test_it_is_read_waited_for_and_killed(project: ProjectFolder) -> None:
    project.write("train.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    process = commands.ForkedCommand(
        "amlexec", ("experiment", "submit", "-c", "local", "train.py"), project.root, os.environ
    )
    until_begun(process)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == process.poll() == -signal.SIGKILL
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert project.amlexec("experiment", "cancel", "-r", "last", "--grace", "0").code == 0


def test_it_has_standard_input(project: ProjectFolder) -> None:
    words = (
        "computetarget",
        "attach",
        "remote",
        "-n",
        "box",
        "-a",
        "h",
        "-u",
        "u",
        "--no-check",
        "--password-stdin",
    )
    assert "is empty" in project.amlexec(*words).err
    done = project.amlexec(*words, input=b"secret\n")
    assert done.code == 0, done.err
