"""Remove environments from the engine: their images, and conda layers that no environment uses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import CONDA, DIGEST, OWNER, PROJECT
from amlexec.environments.store import Removal
from amlexec.images.labels import reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amlexec.docker.client import Engine
    from amlexec.images.lookup import Images

__all__ = ["discard", "drop_unnamed", "remove", "sweep"]

_LAYERS = reference("", "conda")
_HALF_MADE_AGE_S = 600.0
"""An image without a name is being tested, or, when older than this, was left by a killed build."""


class _Inventory:
    """The environments and conda layers on the engine; each image is inspected once at most."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.environments = images.find(engine, {DIGEST: ""})
        # An environment has that label too, but empty.
        self.layers = [layer for layer in images.find(engine, {CONDA: ""}) if layer["Labels"].get(CONDA)]
        self._inspected: dict[str, dict[str, Any] | None] = {}

    def inspect(self, image: str) -> dict[str, Any] | None:
        """See `images.inspect`."""
        if image not in self._inspected:
            self._inspected[image] = images.inspect(self.engine, image)
        return self._inspected[image]

    def below(
        self, listed: dict[str, Any], layers: Iterable[dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """The conda layer that an environment is built on, if it is among `layers` (by default all)."""
        among = self.layers if layers is None else layers
        if listed.get("ParentId"):
            return [layer for layer in among if layer["Id"] == listed["ParentId"]]
        # The image was pulled, or this engine keeps no parents: compare the chains of layers.
        chain = _chain(self.inspect(listed["Id"]))
        return [layer for layer in among if _is_below(_chain(self.inspect(layer["Id"])), chain)]

    def forget(self, image_id: str) -> None:
        """Drop an image that was removed."""
        self.environments = [image for image in self.environments if image["Id"] != image_id]
        self.layers = [layer for layer in self.layers if layer["Id"] != image_id]

    def unused(self, layers: Iterable[str]) -> list[dict[str, Any]]:
        """Those conda layers, by id, that no environment is built on."""
        ids = {*layers}
        left = [layer for layer in self.layers if layer["Id"] in ids]
        for environment in self.environments:
            if not left:
                break
            used = [layer["Id"] for layer in self.below(environment, left)]
            left = [layer for layer in left if layer["Id"] not in used]
        return left


def remove(store: Images, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
    """Remove environments, by digest, that were built for the project of that name.

    A conda layer is removed with the last environment that is built on it. An image with other labels or
    names than amlexec's own stays. With `dry_run`, only report.

    Raises:
        EngineError: the engine can't be asked.
    """
    wanted = sorted(set(digests))
    inventory = _Inventory(store.engine) if wanted else None
    removals = []
    layers: dict[str, dict[str, Any]] = {}
    for digest in wanted:
        assert inventory is not None
        name = reference(digest)
        image = next((image for image in inventory.environments if name in _names(image)), None)
        labels = (image or {}).get("Labels") or {}
        if image is None or labels.get(DIGEST) != digest:
            continue
        if labels.get(PROJECT, "") != project:
            removals.append(Removal(name, 0, f"it was built for the project {labels.get(PROJECT, '')}"))
            continue
        below = inventory.below(image)
        removal = _remove(inventory, image, name, below, dry_run=dry_run)
        removals.append(removal)
        if not removal.kept:
            inventory.forget(image["Id"])
            layers |= {layer["Id"]: layer for layer in below}
    if inventory is not None:
        removals += _remove_layers(inventory, layers, dry_run=dry_run)
    return removals


def sweep(engine: Engine, project: str, owner: str) -> list[Removal]:
    """Remove a project's leftovers: images and layers of builds that failed or were killed.

    Raises:
        EngineError: the engine can't be asked.
    """
    inventory = _Inventory(engine)
    removals = []
    for image in [image for image in inventory.environments if _is_left(image, inventory, project, owner)]:
        removals.append(_remove(inventory, image, image["Id"], (), dry_run=False))
        inventory.forget(image["Id"])
    ours = {layer["Id"]: layer for layer in inventory.layers if _is_of(layer, project, owner)}
    return [*removals, *_remove_layers(inventory, ours, dry_run=False)]


def _is_left(image: dict[str, Any], inventory: _Inventory, project: str, owner: str) -> bool:
    """Whether an image is the unfinished result of a build for this project."""
    labels = image.get("Labels") or {}
    if _names(image) or (labels.get(PROJECT), labels.get(OWNER)) != (project, owner):
        return False
    # An image that someone built on an environment has its labels too, but not a conda layer as parent.
    is_ours = image.get("ParentId") in {layer["Id"] for layer in inventory.layers}
    return is_ours and time.time() - image.get("Created", 0) > _HALF_MADE_AGE_S


def _is_of(layer: dict[str, Any], project: str, owner: str) -> bool:
    labels = layer.get("Labels") or {}
    # Layers of earlier versions have no owner label.
    return labels.get(PROJECT) == project and labels.get(OWNER, owner) == owner


def drop_unnamed(engine: Engine, digest: str, owner: str) -> None:
    """Remove the image without a name that a killed build of an environment left.

    The caller holds the environment's lock.
    """
    for image in images.find(engine, {DIGEST: digest, OWNER: owner}):
        has_parent = not _names(image) and image.get("ParentId")
        parent = images.inspect(engine, image["ParentId"]) if has_parent else None
        if parent and ((parent.get("Config") or {}).get("Labels") or {}).get(CONDA):
            try:
                images.remove(engine, image["Id"])
            except EngineAnswerError as error:
                if error.status != 409:  # a container uses it
                    raise


def discard(engine: Engine, image_id: str) -> None:
    """Remove an image whose name another image has taken, unless it has a name or a container uses it."""
    found = images.inspect(engine, image_id)
    if found is None or found.get("RepoTags"):
        return
    inventory = _Inventory(engine)
    listed = next((image for image in inventory.environments if image["Id"] == image_id), {"Id": image_id})
    below = inventory.below(listed)
    if not _remove(inventory, listed, image_id, below, dry_run=False).kept:
        inventory.forget(image_id)
        list(_remove_layers(inventory, {layer["Id"]: layer for layer in below}, dry_run=False))


def _remove(
    inventory: _Inventory,
    listed: dict[str, Any],
    name: str,
    below: Iterable[dict[str, Any]],
    *,
    dry_run: bool,
) -> Removal:
    size = _own_size(inventory, listed, below)
    if not dry_run:
        try:
            images.remove(inventory.engine, name)
        except EngineAnswerError as error:
            if error.status != 409:
                raise
            return Removal(name, 0, f"it is in use: {error.reason}")
    return Removal(name, size)


def _remove_layers(
    inventory: _Inventory, layers: dict[str, dict[str, Any]], *, dry_run: bool
) -> Iterator[Removal]:
    """Remove those layers that no environment uses; a name that the user gave to one stays."""
    named = [(name, layer) for layer in inventory.unused(layers) for name in _names(layer) or [layer["Id"]]]
    for name, layer in sorted(named, key=lambda pair: pair[0]):
        # After a rebuild, the old layer has no name, only an id.
        if name.startswith((_LAYERS, "sha256:")):
            yield _remove(inventory, layer, name, (), dry_run=dry_run)


def _names(listed: dict[str, Any]) -> list[str]:
    return [name for name in listed.get("RepoTags") or () if name != "<none>:<none>"]


def _chain(found: dict[str, Any] | None) -> list[str]:
    return list(((found or {}).get("RootFS") or {}).get("Layers") or ())


def _is_below(chain: list[str], other: list[str]) -> bool:
    return bool(chain) and other[: len(chain)] == chain


def _own_size(inventory: _Inventory, listed: dict[str, Any], below: Iterable[dict[str, Any]]) -> int:
    """Size in bytes of an image's last layer; 0 if the image has another name too, and so stays."""
    if len(_names(listed)) > 1:
        return 0
    for layer in below:
        return max(0, int(listed.get("Size", 0)) - int(layer.get("Size", 0)))
    steps = images.history(inventory.engine, listed["Id"])
    return int(steps[0]["Size"]) if steps else 0
