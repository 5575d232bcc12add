"""Remove environments from the engine: their images, and conda layers that no environment uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import CONDA, DIGEST, OWNER, PROJECT
from amlexec.environments.store import Removal
from amlexec.images.inventory import EngineImages, is_layer_of, names_of
from amlexec.images.labels import reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amlexec.docker.client import Engine
    from amlexec.images.lookup import Images

__all__ = ["discard", "drop_unnamed", "remove", "sweep"]

_LAYERS = reference("", "conda")


def remove(store: Images, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
    """Remove environments, by digest, that were built for the project of that name.

    Conda layers are removed with the last environment that is built on them. An image with other labels or
    names than amlexec's own stays. With `dry_run`, only report.

    Raises:
        EngineError: the engine can't be asked.
    """
    wanted = sorted(set(digests))
    inventory = EngineImages(store.engine) if wanted else None
    removals = []
    layers: dict[str, dict[str, Any]] = {}
    for digest in wanted:
        assert inventory is not None
        name = reference(digest)
        image = next((image for image in inventory.environments if name in names_of(image)), None)
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
    inventory = EngineImages(engine)
    removals = []
    for image in [image for image in inventory.environments if inventory.is_left(image, project, owner)]:
        removals.append(_remove(inventory, image, image["Id"], (), dry_run=False))
        inventory.forget(image["Id"])
    ours = {layer["Id"]: layer for layer in inventory.layers if is_layer_of(layer, project, owner)}
    return [*removals, *_remove_layers(inventory, ours, dry_run=False)]


def drop_unnamed(engine: Engine, digest: str, owner: str) -> None:
    """Remove the image without a name that a killed build of an environment left.

    The caller holds the environment's lock.
    """
    for image in images.find(engine, {DIGEST: digest, OWNER: owner}):
        has_parent = not names_of(image) and image.get("ParentId")
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
    inventory = EngineImages(engine)
    listed = next((image for image in inventory.environments if image["Id"] == image_id), {"Id": image_id})
    below = inventory.below(listed)
    if not _remove(inventory, listed, image_id, below, dry_run=False).kept:
        inventory.forget(image_id)
        list(_remove_layers(inventory, {layer["Id"]: layer for layer in below}, dry_run=False))


def _remove(
    inventory: EngineImages,
    listed: dict[str, Any],
    name: str,
    below: Iterable[dict[str, Any]],
    *,
    dry_run: bool,
) -> Removal:
    size = inventory.own_size(listed, below)
    if not dry_run:
        try:
            images.remove(inventory.engine, name)
        except EngineAnswerError as error:
            if error.status != 409:
                raise
            return Removal(name, 0, f"it is in use: {error.reason}")
    return Removal(name, size)


def _remove_layers(
    inventory: EngineImages, layers: dict[str, dict[str, Any]], *, dry_run: bool
) -> Iterator[Removal]:
    """Remove those layers that no environment uses; a name that the user gave to one stays."""
    for layer in inventory.unused(layers):
        for name in sorted(names_of(layer)) or [layer["Id"]]:
            # After a rebuild, the old layer has no name, only an id.
            if name.startswith((_LAYERS, "sha256:")):
                yield _remove(inventory, layer, name, inventory.below(layer), dry_run=dry_run)
