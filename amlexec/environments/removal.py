"""Taking environments from the engine: their images, and the conda layers that no other one stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.docker.engine import EngineAnswerError
from amlexec.environments.image import CONDA, Images, reference
from amlexec.environments.shelf import Removal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from amlexec.docker.engine import Engine

__all__ = ["discard", "remove"]

_LAYERS = reference("", "conda")


def remove(shelf: Images, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
    """Remove environments, by digest, that were made for the project of that name.

    A conda layer goes with the last environment that stands on it. What has other labels or names than
    those that amlexec gave it stays. With `dry_run` nothing is removed, and what would be is told.

    Raises:
        EngineError: the engine can't be asked.
    """
    told = []
    layers: dict[str, dict[str, Any]] = {}
    gone = set()
    for digest in sorted(set(digests)):
        image = shelf.get(digest)
        if image is None:
            continue
        name = reference(digest)
        if image.project != project:
            told.append(Removal(name, 0, f"it was made for the project {image.project}"))
            continue
        below = _layers_below(shelf.engine, image.key)
        removal = _remove(shelf.engine, name, dry_run=dry_run)
        told.append(removal)
        if not removal.kept:
            gone.add(image.key)
            layers |= below
    told += _remove_layers(shelf, layers, gone, dry_run=dry_run)
    return told


def discard(engine: Engine, image_id: str) -> None:
    """Remove an image that another has taken the name of, unless it has one more or a container uses it."""
    found = images.inspect(engine, image_id)
    if found is None or found.get("RepoTags"):
        return
    layers = _layers_below(engine, image_id)
    if not _remove(engine, image_id, dry_run=False).kept:
        list(_remove_layers(Images(engine), layers, set(), dry_run=False))


def _remove(engine: Engine, name: str, *, dry_run: bool) -> Removal:
    size = _own_size(engine, name)
    if not dry_run:
        try:
            images.remove(engine, name)
        except EngineAnswerError as error:
            if error.status != 409:
                raise
            return Removal(name, 0, f"it is in use: {error.reason}")
    return Removal(name, size)


def _remove_layers(
    shelf: Images, layers: dict[str, dict[str, Any]], gone: set[str], *, dry_run: bool
) -> Iterator[Removal]:
    if not layers:
        return
    stand = [
        _chain(found)
        for image in shelf.all().values()
        if image.key not in gone and (found := images.inspect(shelf.engine, image.key))
    ]
    for name, layer in sorted(layers.items()):
        below = _chain(layer)
        if not any(chain[: len(below)] == below for chain in stand):
            yield _remove(shelf.engine, name, dry_run=dry_run)


def _layers_below(engine: Engine, image_id: str) -> dict[str, dict[str, Any]]:
    """The conda layers that an environment stands on, by name: one, or none where it was pulled."""
    image = images.inspect(engine, image_id)
    if image is None:
        return {}
    chain = _chain(image)
    found = {}
    for listed in images.find(engine, {CONDA: ""}):
        for name in listed.get("RepoTags") or ():
            if name.startswith(_LAYERS) and (layer := images.inspect(engine, listed["Id"])):
                below = _chain(layer)
                if chain[: len(below)] == below:
                    found[name] = layer
    return found


def _chain(found: dict[str, Any]) -> list[str]:
    return list((found.get("RootFS") or {}).get("Layers") or ())


def _own_size(engine: Engine, name: str) -> int:
    """What the last layer of an image takes; 0 where the image has another name too, and so stays."""
    found = images.inspect(engine, name)
    if found is None or len(found.get("RepoTags") or ()) > 1:
        return 0
    steps = engine.request("GET", f"/images/{name}/history")
    return int(steps[0]["Size"]) if steps else 0
