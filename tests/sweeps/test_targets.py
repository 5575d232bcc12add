"""Sweeps in containers and on a machine over SSH."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE, eventually
from tests.support.places import PLACES, DockerProject, RemoteProject, Shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.hosts import Client, Host
    from tests.support.wires import Wire

SCRIPT = """\
import os, sys, threading
from amlexec.run import log

level = float(sys.argv[2])
for _ in range(3):
    log("accuracy", level)
if level < 0.5:
    threading.Event().wait()  # it never ends by itself
"""
SWEEP = (
    *("experiment", "sweep", "-c", "local", "--metric", "accuracy", "--goal", "maximize"),
    *("--early-stop", "bandit:slack_amount=0.2", "train.py", "--level", "0.9,0.1,0.8"),
)


def executed(project: DockerProject) -> None:
    project.write("train.py", SCRIPT)
    name = project.place.name
    done = project.amlexec(*(name if word == "local" else word for word in SWEEP))
    assert done.code == 0, done.err
    found = json.loads(project.amlexec("sweep", "status", "-o", "json").out)
    assert found["counts"] == {"Completed": 2, "Stopped": 1}, done.err
    assert found["best"]["metric"] == 0.9
    records = [project.record(run) for run in project.run_ids()]
    assert sorted(record["sweep"]["number"] for record in records) == [1, 2, 3]
    assert {record["target_kind"] for record in records} == {project.place.kind}


def test_in_containers(shop: Shop, tmp_path: Path) -> None:
    place = next(place for place in PLACES if place.name == "docker-copy")
    project = DockerProject(tmp_path / "demo", shop, place)
    assert project.prepare().code == 0
    executed(project)
    assert project.containers() == []


def test_on_a_machine(host: Host, client: Client, shop: Shop, tmp_path: Path) -> None:
    executed(on_machine(host, client, shop, tmp_path / "demo"))


def on_machine(host: Host, client: Client, shop: Shop, root: Path) -> RemoteProject:
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    return RemoteProject(root, shop, next(place for place in PLACES if place.name == "remote"), host)


WAITING = """\
import os, sys, time

if "ELSEWHERE" in os.environ:
    open(sys.argv[1] + ".begun", "w").close()
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.1)
"""
IMPATIENT = """\
import sys
from amlexec.sweeps import driver

driver.UNREACHABLE_TIMEOUT_S = 2.0
from amlexec import cli

sys.exit(cli.run(sys.argv[1:]))
"""


def test_a_machine_that_vanishes(
    host: Host, client: Client, shop: Shop, new_wire: Callable[[Host], Wire], tmp_path: Path
) -> None:
    """Its next points go to the other target, and the one that ran there is collected when it is back."""
    wire = new_wire(host)
    project = on_machine(host, client, shop, tmp_path / f"sweep{os.urandom(4).hex()}")
    project.write("aml_config/remote.compute", project.compute().replace(host.address, wire.address))
    project.write("aml_config/local.runconfig", "Target: local\nFramework: Python\n")
    project.configure("EnvironmentVariables: {ELSEWHERE: 1}")
    project.write("train.py", WAITING)
    go = f"/tmp/{project.root.name}"
    words = ("experiment", "sweep", "-c", "remote", "-c", "local", "train.py", go, "--level", "1..6")
    process = project.start(sys.executable, "-c", IMPATIENT, *words)
    eventually(lambda: project.host.ssh(f"ls {go}.begun 2>/dev/null || :") != "", "a point runs there")
    wire.cut()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, err
    assert b"no more runs are started with remote" in err
    found = json.loads(project.amlexec("sweep", "status", "-o", "json").out)
    assert found["counts"] == {"Completed": 5, "Running": 1}
    project.host.ssh(f"touch {go}")
    wire.mend()
    again = project.amlexec("experiment", "sweep", "--resume", "last")
    assert again.code == 0, again.err
    found = json.loads(project.amlexec("sweep", "status", "-o", "json").out)
    assert found["counts"] == {"Completed": 6}
    assert len(project.run_ids()) == 6
