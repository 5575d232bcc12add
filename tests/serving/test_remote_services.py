"""A service on another machine's engine, reached through the SSH connection."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.conftest import eventually
from tests.support.places import PLACES, RemoteDockerProject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.support.engine_hosts import EngineHost
    from tests.support.hosts import Client
    from tests.support.places import Shop

PLACE = next(place for place in PLACES if place.name == "remotedocker")


def test_a_service_on_another_machine(
    engine_host: EngineHost, shop: Shop, server_wheels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", server_wheels)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    project = RemoteDockerProject(tmp_path / "demo", shop, PLACE, engine_host)
    project.write("score.py", "def init(): pass\ndef run(x: float, y: float): return {'sum': x + y}\n")
    name, place = f"t{time.time_ns() % 10**10}", ("-t", "remotedocker")
    done = project.amlexec("service", "create", "-n", name, "-f", "score.py", *place)
    try:
        assert done.code == 0, done.err
        assert "reaches it through the SSH connection" in done.err
        answer = project.amlexec("service", "run", name, "-d", '{"x": 1, "y": 2}', *place)
        assert (answer.code, answer.out) == (0, '{"sum": 3.0}\n'), answer.err
        wrong = project.amlexec("service", "run", name, "-d", '{"x": 1}', *place)
        assert (wrong.code, "y: it is missing" in wrong.out) == (1, True)
        project.write(
            "score.py", "def init(): pass\ndef run(x: float, y: float): return {'product': x * y}\n"
        )
        done = project.amlexec("service", "update", name, "-f", "score.py", *place)
        assert done.code == 0, done.err
        answer = project.amlexec("service", "run", name, "-d", '{"x": 1, "y": 2}', *place)
        assert json.loads(answer.out) == {"product": 2.0}
        listed = json.loads(project.amlexec("service", "list", "-o", "json", *place).out)
        assert [row["state"] for row in listed if row["name"] == name] == ["running"]
    finally:
        gone = project.amlexec("service", "delete", name, *place)
    assert gone.code == 0, gone.err


def test_a_service_comes_back_after_its_machine_was_rebooted(
    new_engine_host: Callable[..., EngineHost],
    client: Client,
    shop: Shop,
    server_wheels: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", server_wheels)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    host = new_engine_host()
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    host.take(shop.engine, shop.base)
    project = RemoteDockerProject(tmp_path / "demo", shop, PLACE, host)
    project.write("score.py", "def init(): pass\ndef run(x: float, y: float): return {'sum': x + y}\n")
    place = ("-t", PLACE.name)
    done = project.amlexec("service", "create", "-n", "sums", "-f", "score.py", "--replicas", "2", *place)
    assert done.code == 0, done.err
    key = project.amlexec("service", "show", "sums", "--key", *place).out

    def answers() -> bool:
        return (
            project.amlexec("service", "run", "sums", "-d", '{"x": 1, "y": 2}', *place).out
            == '{"sum": 3.0}\n'
        )

    def all_run() -> bool:
        shown = project.amlexec("service", "show", "sums", "-o", "json", *place)
        return shown.code == 0 and json.loads(shown.out)["state"] == "running"

    assert answers()
    host.kill()
    host.start()
    host.start_engine()
    # Nobody asks for it: the engine starts the listener and the replicas.
    eventually(answers, "the service answers again", 0.3)
    eventually(all_run, "both replicas run", 0.3)
    assert project.amlexec("service", "show", "sums", "--key", *place).out == key
