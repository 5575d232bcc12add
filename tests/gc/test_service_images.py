"""`amlexec gc` and the images of services: what a service runs stays."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import containers, images
from amlexec.images.labels import reference
from amlexec.services import retired
from tests.gc.test_engine import Stocked, stocked
from tests.gc.test_gc import gone

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["stocked"]


class Shelf:
    """Images of services, and containers of services that have them."""

    def __init__(self, stocked: Stocked) -> None:
        self.stocked = stocked
        self.engine = stocked.shop.engine
        self.environment = stocked.made.environment(stocked.made.layer())
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.containers: list[str] = []

    def image(self, *, is_newest: bool = False, owner: str | None = None, of: str | None = None) -> str:
        """The name of another image."""
        content = uuid.uuid4().hex + uuid.uuid4().hex
        labels = {
            "amlexec.digest": "",
            "amlexec.owner": "",
            "amlexec.project": self.stocked.made.project.name,
            "amlexec.service.owner": self.stocked.made.owner if owner is None else owner,
            "amlexec.service.image": self.name,
            "amlexec.service.content": content,
            "amlexec.service.environment": self.environment,
        }
        name = f"amlexec-service/{self.name}:{content[:20]}"
        self.stocked.made.commit(of or reference(self.environment), name, labels, 5000)
        if is_newest:
            self.also(name, f"amlexec-service/{self.name}:latest")
        return name

    def also(self, image: str, name: str) -> None:
        """Give an image another name."""
        images.tag(self.engine, image, name)
        self.stocked.made.names.append(name)

    def identity(self, name: str) -> str:
        """The id of an image."""
        found = images.inspect(self.engine, name)
        assert found is not None
        return str(found["Id"])

    def service(self, image: str, previous: str = "") -> str:
        """A container of a service, which has not been started."""
        settings = {
            "name": self.name,
            "image": self.identity(image),
            "reference": image,
            "models": "",
            "previous": self.identity(previous) if previous else "",
        }
        labels = {
            "amlexec.service": self.name,
            "amlexec.service.role": "replica",
            "amlexec.service.generation": "1",
            "amlexec.service.settings": json.dumps(settings),
        }
        wanted = {"Image": image, "Cmd": ["none"], "Labels": labels}
        self.containers.append(containers.create(self.engine, wanted))
        return self.containers[-1]

    def close(self) -> None:
        """Remove the containers; the images are the project's."""
        for container in self.containers:
            containers.remove(self.engine, container, force=True)


@pytest.fixture
def shelf(stocked: Stocked) -> Iterator[Shelf]:
    found = Shelf(stocked)
    try:
        yield found
    finally:
        found.close()


def kept(found: dict[str, Any]) -> dict[str, str]:
    """The reasons by name."""
    return {entry["name"]: entry["reason"] for entry in found["kept"] if entry["kind"] == "service image"}


def test_images_stay_while_a_service_needs_them(shelf: Shelf, stocked: Stocked) -> None:
    older, previous, running, newest = (shelf.image(is_newest=True) for _ in range(4))
    foreign, theirs = shelf.image(owner="another"), shelf.image()
    shelf.also(theirs, f"registry.example.org/team/{shelf.name}:1")
    container = shelf.service(running, previous)
    plan = stocked.collected("--plan", "-t", "docker")
    assert gone(plan, "service image") == [older]
    assert [entry["bytes"] for entry in plan["removed"] if entry["name"] == older] == [5000]
    assert kept(plan) == {
        running: f"the service {shelf.name} runs it",
        previous: f"the service {shelf.name} can be rolled back to it",
        theirs: f"it also has the name registry.example.org/team/{shelf.name}:1",
    }
    done = stocked.collected()
    assert gone(done, "service image") == [older]
    # The environment below them stays, although no run needs it.
    assert gone(done, "environment") == []
    assert stocked.has(shelf.environment)
    # Without its containers, the service is gone; the newest image may be deployed tomorrow.
    containers.remove(shelf.engine, container, force=True)
    assert sorted(gone(stocked.collected(), "service image")) == sorted([running, previous])
    retired.note(stocked.made.project, [shelf.identity(newest)])
    assert gone(stocked.collected(), "service image") == [newest]
    assert images.inspect(shelf.engine, f"amlexec-service/{shelf.name}:latest") is None
    assert images.inspect(shelf.engine, foreign) is not None
    assert retired.read(stocked.made.project) == set()


def test_an_old_newest_image_goes_with_its_environment(shelf: Shelf, stocked: Stocked) -> None:
    name = shelf.image(is_newest=True)
    assert gone(stocked.collected("--older-than", "1h"), "service image") == []
    found = stocked.collected("--max", "0")
    assert gone(found, "service image") == [name]
    assert gone(found, "environment") == [reference(shelf.environment)]
    assert not stocked.has(shelf.environment)


def test_what_a_container_uses_since_the_plan_stays(shelf: Shelf, stocked: Stocked) -> None:
    from amlexec.gc import service_images

    old, _ = shelf.image(is_newest=True), shelf.image(is_newest=True)
    project = stocked.made.project
    (found,) = [
        item
        for item in service_images.items(shelf.engine, project, "docker", "engine:docker:")
        if item.role == "part"
    ]
    shelf.containers.append(containers.create(shelf.engine, {"Image": old, "Cmd": ["none"]}))
    (outcome,) = service_images.remove(shelf.engine, project, [found])
    assert (outcome.item.name, outcome.kept) == (old, "a container uses it")
    assert images.inspect(shelf.engine, old) is not None
