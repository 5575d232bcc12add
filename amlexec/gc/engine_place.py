"""A Docker engine: the images of environments, their layers, and containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.config import load as config
from amlexec.docker import containers
from amlexec.docker.errors import EngineAbsentError, EngineDeniedError
from amlexec.docker.labels import DIGEST
from amlexec.environments import last_prepared
from amlexec.environments.ownership import ownership
from amlexec.gc import needed, service_images
from amlexec.gc.model import LEFTOVER, PART, Item
from amlexec.gc.places import Outcome
from amlexec.images import build_lock
from amlexec.images.inventory import EngineImages, is_layer_of, names_of
from amlexec.images.labels import reference
from amlexec.images.store import ImageStore
from amlexec.owner import owner_of
from amlexec.runs import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.docker.client import Engine
    from amlexec.gc.project_items import ProjectRuns
    from amlexec.targets.docker import DockerTarget
    from amlexec.values import Project

__all__ = ["EnginePlace"]


class EnginePlace:
    """A `Place`. Images and containers of other projects are left alone."""

    def __init__(self, project: Project, name: str, engine: Engine, target: DockerTarget) -> None:
        """No I/O."""
        self.name = name
        self.targets = {name}
        self.prefix = f"engine:{name}:"
        self._project = project
        self._engine = engine
        self._target = target

    def items(self, runs: ProjectRuns) -> list[Item]:
        """See `Place.items`: three lists of images, two lists of containers."""
        try:
            services = service_images.items(self._engine, self._project, self.name, self.prefix)
            return [*self._images(), *services, *self._containers()]
        except (EngineAbsentError, EngineDeniedError):
            # Without anything in Docker, no engine is expected.
            if self._is_expected(runs):
                raise
            return []

    def _is_expected(self, runs: ProjectRuns) -> bool:
        if any(run.target in self.targets for run in runs.facts):
            return True
        names = config.run_configurations(self._project)
        found = [last_prepared.recall(self._project, name) for name in names]
        return any(last is not None and last.key and last.target in self.targets for last in found)

    def _images(self) -> Iterator[Item]:
        found = EngineImages(self._engine)
        is_ours, owner = ownership(self._project), owner_of(self._project)
        stored = ImageStore(self._engine).all()
        used: set[str] = set()
        for image in found.environments:
            digest = (image.get("Labels") or {}).get(DIGEST, "")
            below = found.below(image)
            needs = tuple(self._key(layer["Id"]) for layer in below)
            if found.is_left(image, self._project.name, owner):
                size = found.own_size(image, below)
                yield Item(
                    self._key(image["Id"]), "image", LEFTOVER, self.name, image["Id"][:19], size, needs
                )
            elif digest in stored and stored[digest].key == image["Id"] and is_ours(stored[digest]):
                size, moment = found.own_size(image, below), float(image.get("Created", 0))
                yield Item(
                    *(self._key(digest), "environment", PART, self.name, reference(digest), size, needs),
                    used=moment,
                    digest=digest,
                )
            else:
                used.update(layer["Id"] for layer in below)
        ours = [layer for layer in found.layers if is_layer_of(layer, self._project.name, owner)]
        for layer in found.layers:
            if layer not in ours:
                used.update(each["Id"] for each in found.below(layer))
        for layer in ours:
            pin = "an image that is not this project's is built on it" if layer["Id"] in used else ""
            below = found.below(layer)
            needs = tuple(self._key(each["Id"]) for each in below)
            name = next(iter(names_of(layer)), layer["Id"][:19])
            size = found.own_size(layer, below)
            yield Item(self._key(layer["Id"]), "layer", PART, self.name, name, size, needs, pin=pin)

    def _containers(self) -> Iterator[Item]:
        over = leftovers.over_containers(self._project, self._target)
        for run_id, ids in self._target.containers().items():
            role = LEFTOVER if run_id in over else PART
            needed_by = "" if run_id in over else run_id
            key = self._key(f"run:{run_id}")
            yield Item(key, "container", role, self.name, run_id, 0, run_id=needed_by, ids=tuple(ids))
        for container in build_lock.left(self._engine):
            key = self._key(container)
            name = f"of a killed build, {container[:12]}"
            yield Item(key, "container", LEFTOVER, self.name, name, 0, ids=(container,))

    def _key(self, what: str) -> str:
        return f"{self.prefix}{what}"

    def remove(self, items: Sequence[Item]) -> list[Outcome]:
        """See `Place.remove`. Layers go with the last environment that is built on them."""
        outcomes = []
        for item in [item for item in items if item.kind == "container"]:
            for container in item.ids:
                containers.remove(self._engine, container, force=True)
            outcomes.append(Outcome(item))
        # Before the environments that they are built on.
        if served := [item for item in items if item.kind == service_images.KIND]:
            outcomes += service_images.remove(self._engine, self._project, served)
        outcomes += [self._remove_environment(item) for item in items if item.kind == "environment"]
        if rest := [item for item in items if item.kind in {"layer", "image"}]:
            outcomes += self._sweep(rest)
        return outcomes

    def _sweep(self, items: Sequence[Item]) -> list[Outcome]:
        with needed.unless_begun(self._project) as why:
            if why:
                return [Outcome(item, why) for item in items]
            ImageStore(self._engine).sweep(self._project.name, owner_of(self._project))
        left = {self._key(image["Id"]) for image in self._all()}
        return [Outcome(item, "it is in use" if item.key in left else "") for item in items]

    def _all(self) -> list[dict[str, Any]]:
        found = EngineImages(self._engine)
        return [*found.environments, *found.layers]

    def _remove_environment(self, item: Item) -> Outcome:
        with needed.unless_needed(self._project, item.digest) as why:
            if why:
                return Outcome(item, why)
            removals = ImageStore(self._engine).remove([item.digest], self._project.name)
        kept = next((removal.kept for removal in removals if removal.kept), "")
        if not kept:
            needed.forget(self._project, item.digest)
        return Outcome(item, kept)
