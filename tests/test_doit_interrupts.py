"""Ctrl-C and SIGTERM while doit runs tasks: no more tasks start, and nothing unfinished is left."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, ProjectFolder, eventually
from tests.support.places import LABEL, DockerProject, Shop, new_base

if TYPE_CHECKING:
    from pathlib import Path

MODES = [(), ("-n", "2"), ("-n", "2", "-P", "thread")]
SLOW = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


class Doit:
    """`doit WORDS` in its own process group, and its output so far."""

    def __init__(self, project: ProjectFolder, *words: str) -> None:
        self._file = project.root.parent / "printed"
        with self._file.open("wb") as printed:
            options = {"stdout": printed, "stderr": printed, "start_new_session": True}
            self.process = project.start(sys.executable, "-m", "doit", *words, **options)

    @property
    def printed(self) -> str:
        return self._file.read_text("utf-8")

    def wait_for(self, text: str, times: int = 1) -> None:
        eventually(lambda: self.printed.count(text) >= times, f"{text!r} is printed: {self.printed}")

    def end(self, *, everybody: bool, number: signal.Signals) -> int:
        """Send a signal, to all processes like a terminal, or to one like `kill PID`; the exit code."""
        (os.killpg if everybody else os.kill)(self.process.pid, number)
        return self.process.wait(PATIENCE)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: " ".join(mode) or "one process")
@pytest.mark.parametrize(("everybody", "number"), [(True, signal.SIGINT), (False, signal.SIGTERM)])
def test_no_other_run_is_started(
    project: ProjectFolder, mode: tuple[str, ...], everybody: bool, number: signal.Signals
) -> None:
    project.write("slow.py", SLOW)
    for name in ("a", "b", "c", "d"):
        project.write(f"aml_config/{name}.runconfig", "Target: local\nFramework: Python\n")
    tasks = [f"submit:{name}" for name in ("a", "b", "c", "d")]
    doit = Doit(project, *mode, *tasks, "script=slow.py")
    count = 2 if mode else 1
    doit.wait_for("begun\n", count)
    code = doit.end(everybody=everybody, number=number)
    try:
        assert code == 128 + number, doit.printed
        assert "Traceback" not in doit.printed
        assert doit.printed.count("stopped following; the run ") == count
        assert len(project.run_ids()) == count
        left = "submit:c, submit:d" if mode else "submit:b, submit:c, submit:d"
        assert f"not started: {left}\n" in doit.printed
    finally:
        for run_id in project.run_ids():
            assert project.amlexec("experiment", "cancel", "-r", run_id, "--grace", "0").code == 0


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: " ".join(mode) or "one process")
@pytest.mark.parametrize(("everybody", "number"), [(True, signal.SIGINT), (False, signal.SIGTERM)])
def test_a_build_is_aborted_and_no_other_started(
    shop: Shop, tmp_path: Path, mode: tuple[str, ...], everybody: bool, number: signal.Signals
) -> None:
    project = DockerProject(tmp_path / "demo", shop)
    # A new base image, so that no part of its environments exists.
    own = uuid.uuid4().hex[:8]
    new_base(
        shop.engine, shop.base, f"amlexec-test/{own}:1", f"{LABEL}={shop.session}", f"amlexec-test.own={own}"
    )
    project.write("aml_config/docker.compute", project.compute(base=f"amlexec-test/{own}:1"))
    text = (project.configuration / "docker.runconfig").read_text()
    for name, spec in (("a", "six=1.16"), ("b", "six=1.17"), ("c", "idna")):
        project.write(f"aml_config/{name}.yml", shop.conda(spec))
        project.write(f"aml_config/{name}.runconfig", text.replace("conda_dependencies.yml", f"{name}.yml"))
    doit = Doit(project, *mode, "prepare:a", "prepare:b", "prepare:c")
    doit.wait_for("installing")
    code = doit.end(everybody=everybody, number=number)
    assert code == 128 + number, doit.printed
    assert "Traceback" not in doit.printed, doit.printed
    assert "interrupted\n" in doit.printed
    assert "not started: " in doit.printed
    assert "c: it was never prepared here" not in doit.printed
    assert [one for one in shop.containers() if one["Labels"].get("amlexec.building")] == []
    after = project.doit("prepare:a")
    assert after.code == 0, after.err


def test_ctrl_c_before_any_task(project: ProjectFolder) -> None:
    """Outside of tasks: no traceback either."""
    project.write(
        "dodo.py",
        "from amlexec.tasks import *  # noqa: F403\nimport time\n"
        "def wait(task, values):\n    print('begun', flush=True)\n    time.sleep(600)\n"
        "def task_own():\n    return {'actions': ['true'], 'uptodate': [wait]}\n",
    )
    for words in (["own"], ["info", "own"], ["list", "--status"]):
        doit = Doit(project, *words)
        doit.wait_for("begun\n")
        assert doit.end(everybody=True, number=signal.SIGINT) == 130
        assert doit.printed.count("interrupted\n") == 1, doit.printed
        assert "Traceback" not in doit.printed, doit.printed
