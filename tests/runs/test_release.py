"""What a finished run no longer needs is released, even if the process that recorded its end is killed."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE
from tests.support.places import PLACES, DockerProject, Place, Shop

if TYPE_CHECKING:
    from pathlib import Path

HERE = [place for place in PLACES if place.kind in {"local", "docker"}]
KILLED = """\
import os, signal, sys
from amlexec import cli
from amlexec.runs import release
release.let_go = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(cli.run(["experiment", "submit", "-c", sys.argv[1], "train.py"]))
"""


@pytest.mark.parametrize("place", HERE, ids=[place.name for place in HERE])
def test_a_client_that_is_killed_when_the_end_is_recorded(shop: Shop, tmp_path: Path, place: Place) -> None:
    project = DockerProject(tmp_path / "demo", shop, place)
    project.write("train.py", "open('outputs/x', 'w').close()\n")
    assert project.prepare().code == 0
    process = project.start(sys.executable, "-c", KILLED, place.name)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, err
    (run_id,) = project.run_ids()
    assert project.record(run_id)["status"] == "Completed"
    checkout = project.run_folder(run_id) / "project"
    assert len(project.containers()) == int(place.is_docker)
    assert checkout.exists()

    done = project.amlexec("experiment", "status", "-r", run_id)
    assert done.code == 0, done.err
    assert project.containers() == []
    assert not checkout.exists()
    assert not (project.run_folder(run_id) / "control/release").exists()
    assert project.record(run_id)["outputs"] == {"files": 1, "bytes": 0}


def test_an_engine_that_can_not_be_reached_then(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is told all the same, and the engine is not asked each time."""
    place = next(place for place in HERE if place.is_docker)
    project = DockerProject(tmp_path / "demo", shop, place)
    project.write("train.py", "")
    assert project.prepare().code == 0
    process = project.start(sys.executable, "-c", KILLED, place.name)
    process.communicate(timeout=PATIENCE)
    (run_id,) = project.run_ids()
    with monkeypatch.context() as changed:
        changed.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        done = project.amlexec("experiment", "status", "-r", run_id)
        assert done.code == 0, done.err
    assert "could not be removed" in (project.run_folder(run_id) / "control.log").read_text()
    assert not (project.run_folder(run_id) / "control/release").exists()
    assert len(project.containers()) == 1
    assert project.amlexec("gc").code == 0
    assert project.containers() == []
