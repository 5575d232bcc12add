"""`amlexec gc` on a Docker engine: what it removes there, and what it leaves alone."""

from __future__ import annotations

import contextlib
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec import locks
from amlexec.docker import containers, images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import BUILDING, MAKER, PROJECT_FOLDER, RUN
from amlexec.history import tags
from amlexec.images import build_lock
from amlexec.images.labels import reference
from tests.conftest import ProjectFolder
from tests.gc.test_gc import collected, gone, recorded
from tests.images.test_remove import Made
from tests.support.places import DockerProject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.places import Shop


class Stocked(ProjectFolder):
    """A project with images of its own on the engine."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop = shop
        self.made = Made(shop, folder)
        super().__init__(Path(self.made.project.root))
        self.write("aml_config/docker.compute", f"type: localdocker\nbaseDockerImage: {shop.base}\n")

    def has(self, digest: str) -> bool:
        """Whether the engine has an environment."""
        return images.inspect(self.shop.engine, reference(digest)) is not None

    def collected(self, *options: str, code: int = 0) -> dict[str, Any]:
        """What `amlexec gc` says."""
        return collected(self, *options, code=code)


@pytest.fixture
def stocked(shop: Shop, tmp_path: Path) -> Iterator[Stocked]:
    found = Stocked(shop, tmp_path)
    yield found
    for name in reversed(found.made.names):
        with contextlib.suppress(EngineAnswerError):
            images.remove(shop.engine, name, force=True)


def test_an_environment_goes_with_the_last_run_that_needs_it(stocked: Stocked) -> None:
    layer = stocked.made.layer()
    unneeded, old, tagged = (stocked.made.environment(layer) for _ in range(3))
    runs = [
        recorded(stocked, number, environment_digest=digest) for number, digest in ((1, old), (2, tagged))
    ]
    tags.change(runs[1], {"paper": ""})
    plan = stocked.collected("--plan", "-t", "docker")
    assert gone(plan, "environment") == [reference(unneeded)]
    assert stocked.made.left() == 4
    assert gone(stocked.collected(), "environment") == [reference(unneeded)]
    assert [stocked.has(digest) for digest in (unneeded, old, tagged)] == [False, True, True]
    found = stocked.collected("--keep-last", "0")
    assert gone(found, "environment") == [reference(old)]
    assert gone(found, "layer") == []
    tags.change(runs[1], {"paper": None})
    found = stocked.collected("--keep-last", "0")
    assert gone(found, "environment") == [reference(tagged)]
    assert len(gone(found, "layer")) == 1
    assert all(entry["bytes"] >= 0 for entry in found["removed"])
    assert stocked.made.left() == 0


def test_what_is_not_the_projects_own_stays(stocked: Stocked) -> None:
    made = stocked.made
    layer = made.layer()
    foreign = uuid.uuid4().hex * 2
    labels = {"amlexec.digest": foreign, "amlexec.conda": "", "amlexec.project": "another"}
    made.commit(layer, reference(foreign), labels)
    derived = made.environment(layer)
    made.commit(reference(derived), f"somebody/else:{derived[:12]}", {})
    made.commit(stocked.shop.base, f"plain:{derived[:12]}", {})
    before = made.left()
    found = stocked.collected("--keep-last", "0")
    assert gone(found, "environment") == [reference(derived)]
    assert made.left() == before - 1
    assert [entry["reason"] for entry in found["kept"] if entry["kind"] == "layer"] == [
        "an image that is not this project's is built on it"
    ]


def test_layers_stay_while_something_is_built_on_them(stocked: Stocked) -> None:
    made = stocked.made
    python = made.layer()
    upper = made.layer(python)
    kept, unneeded = made.environment(upper), made.environment(made.layer(python))
    recorded(stocked, 1, environment_digest=kept)
    foreign = made.layer()
    made.layer(foreign, project="another")
    before = made.left()
    plan = stocked.collected("--plan", "-t", "docker")
    assert gone(plan, "environment") == [reference(unneeded)]
    assert len(gone(plan, "layer")) == 1
    assert gone(stocked.collected(), "environment") == [reference(unneeded)]
    assert made.left() == before - 2
    found = stocked.collected("--keep-last", "0")
    assert gone(found, "environment") == [reference(kept)]
    assert len(gone(found, "layer")) == 2, "the one above and the one with Python"
    assert made.left() == 2
    assert [entry["reason"] for entry in found["kept"] if entry["kind"] == "layer"] == [
        "an image that is not this project's is built on it"
    ]
    assert images.inspect(stocked.shop.engine, foreign) is not None


def test_containers_without_a_run_are_removed(stocked: Stocked) -> None:
    engine = stocked.shop.engine
    run = recorded(stocked, 1, status="Running", end_time_utc=None, target="docker", target_kind="docker")
    lock = locks.take(str(run.lock))  # as while it is started
    assert lock is not None
    dead = "/".join([*build_lock.me().split("/")[:2], "1", "1"])
    ours, own = {PROJECT_FOLDER: str(stocked.root)}, {}
    for name, labels in {
        "orphan": {**ours, RUN: "demo_1"},
        "running": {**ours, RUN: run.folder.name},
        "of another": {PROJECT_FOLDER: "/elsewhere", RUN: "demo_1"},
        "build": {BUILDING: "x", MAKER: dead},
        "users": {},
    }.items():
        settings = {"Image": stocked.shop.base, "Cmd": ["x"], "Labels": labels}
        own[name] = containers.create(engine, settings)
    try:
        found = stocked.collected()
        assert "demo_1" in gone(found, "container")
        left = {name for name, each in own.items() if containers.inspect(engine, each) is not None}
        assert left == {"running", "of another", "users"}
    finally:
        lock.release()
        for container in own.values():
            containers.remove(engine, container, force=True)


def test_an_image_in_use_stays_and_the_others_go_on(stocked: Stocked) -> None:
    layer = stocked.made.layer()
    used, free = stocked.made.environment(layer), stocked.made.environment(layer)
    container = containers.create(stocked.shop.engine, {"Image": reference(used), "Cmd": ["x"]})
    try:
        found = stocked.collected()
    finally:
        containers.remove(stocked.shop.engine, container, force=True)
    assert gone(found, "environment") == [reference(free)]
    assert any("it is in use" in entry["reason"] for entry in found["kept"])
    assert stocked.has(used)


def test_an_engine_that_does_not_answer_stops_no_other(
    stocked: Stocked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    here = recorded(stocked, 1)
    assert gone(stocked.collected("--plan")) == [], "without runs in Docker, no engine is expected"
    there = recorded(stocked, 2, target="docker", target_kind="docker")
    found = stocked.collected("--keep-last", "0", code=2)
    assert gone(found) == [here.folder.name]
    assert there.folder.exists()
    assert "docker can't be asked, and may have files of it" in {entry["reason"] for entry in found["kept"]}
    assert found["problems"]


def test_a_prepare_is_not_disturbed(shop: Shop, tmp_path: Path) -> None:
    """Real processes: a prepare, with a clean-up after the other beside it."""
    name = f"gc-{uuid.uuid4().hex[:8]}"
    project = DockerProject(tmp_path / name, shop, conda=shop.conda("six", "idna=3.7"))
    project.write("train.py", "import six, idna\nprint('imported')\n")
    command = (sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", project.place.name)
    preparing = project.start(*command)
    while preparing.poll() is None:
        found = collected(project, "--keep-last", "0")
        assert gone(found, "environment") == gone(found, "layer") == []
    _, err = preparing.communicate()
    assert preparing.returncode == 0, err
    assert gone(collected(project), "environment") == [], "the run configuration uses it"
    done = project.submit("train.py")
    assert (done.code, "imported" in done.out) == (0, True), done.err
    project.write("aml_config/conda_dependencies.yml", shop.conda("six"))
    assert gone(collected(project), "environment") == [], (
        "the run needs it, and the configuration had it last"
    )
