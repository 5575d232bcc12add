"""Sweeps in containers and on a machine over SSH."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.places import PLACES, DockerProject, RemoteProject, Shop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hosts import Client, Host

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
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    place = next(place for place in PLACES if place.name == "remote")
    executed(RemoteProject(tmp_path / "demo", shop, place, host))
