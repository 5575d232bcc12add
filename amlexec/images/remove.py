"""Taking environments from the engine: their images, and the conda layers that no other one stands on."""

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
"""An image without a name is one that is being tried, which takes no longer than this, or was left behind."""


class _Looked:
    """What the engine has of ours: two lists, and what is asked of an image is asked once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.environments = images.find(engine, {DIGEST: ""})
        # An environment has that label too, and no value in it.
        self.layers = [one for one in images.find(engine, {CONDA: ""}) if one["Labels"].get(CONDA)]
        self._inspected: dict[str, dict[str, Any] | None] = {}

    def inspect(self, image: str) -> dict[str, Any] | None:
        """See `images.inspect`."""
        if image not in self._inspected:
            self._inspected[image] = images.inspect(self.engine, image)
        return self._inspected[image]

    def below(
        self, listed: dict[str, Any], layers: Iterable[dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """The conda layer that an environment stands on, if it is among `layers` (by default all)."""
        among = self.layers if layers is None else layers
        if listed.get("ParentId"):
            return [one for one in among if one["Id"] == listed["ParentId"]]
        # It was pulled, or this engine keeps no parents: then what they are made of tells.
        chain = _chain(self.inspect(listed["Id"]))
        return [one for one in among if _is_below(_chain(self.inspect(one["Id"])), chain)]

    def forget(self, image_id: str) -> None:
        """It has been removed."""
        self.environments = [one for one in self.environments if one["Id"] != image_id]
        self.layers = [one for one in self.layers if one["Id"] != image_id]

    def unused(self, layers: Iterable[str]) -> list[dict[str, Any]]:
        """Those of the conda layers, by id, that no environment stands on."""
        asked = {*layers}
        left = [one for one in self.layers if one["Id"] in asked]
        for environment in self.environments:
            if not left:
                break
            used = [one["Id"] for one in self.below(environment, left)]
            left = [one for one in left if one["Id"] not in used]
        return left


def remove(store: Images, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
    """Remove environments, by digest, that were made for the project of that name.

    A conda layer goes with the last environment that stands on it. What has other labels or names than
    those that amlexec gave it stays. With `dry_run` nothing is removed, and what would be is told.

    Raises:
        EngineError: the engine can't be asked.
    """
    wanted = sorted(set(digests))
    looked = _Looked(store.engine) if wanted else None
    told = []
    layers: dict[str, dict[str, Any]] = {}
    for digest in wanted:
        assert looked is not None
        name = reference(digest)
        image = next((one for one in looked.environments if name in _names(one)), None)
        labels = (image or {}).get("Labels") or {}
        if image is None or labels.get(DIGEST) != digest:
            continue
        if labels.get(PROJECT, "") != project:
            told.append(Removal(name, 0, f"it was made for the project {labels.get(PROJECT, '')}"))
            continue
        below = looked.below(image)
        removal = _remove(looked, image, name, below, dry_run=dry_run)
        told.append(removal)
        if not removal.kept:
            looked.forget(image["Id"])
            layers |= {one["Id"]: one for one in below}
    if looked is not None:
        told += _remove_layers(looked, layers, dry_run=dry_run)
    return told


def sweep(engine: Engine, project: str, owner: str) -> list[Removal]:
    """Remove what was made for a project and is part of no environment: of builds that failed or were killed.

    Raises:
        EngineError: the engine can't be asked.
    """
    looked = _Looked(engine)
    told = []
    for one in [one for one in looked.environments if _is_left(one, looked, project, owner)]:
        told.append(_remove(looked, one, one["Id"], (), dry_run=False))
        looked.forget(one["Id"])
    ours = {one["Id"]: one for one in looked.layers if _is_of(one, project, owner)}
    return [*told, *_remove_layers(looked, ours, dry_run=False)]


def _is_left(image: dict[str, Any], looked: _Looked, project: str, owner: str) -> bool:
    """Whether an image is one that was to become an environment of the project's, and never did."""
    labels = image.get("Labels") or {}
    if _names(image) or (labels.get(PROJECT), labels.get(OWNER)) != (project, owner):
        return False
    # What others have made of an environment has its labels, and the environment for a parent.
    is_ours = image.get("ParentId") in {one["Id"] for one in looked.layers}
    return is_ours and time.time() - image.get("Created", 0) > _HALF_MADE_AGE_S


def _is_of(layer: dict[str, Any], project: str, owner: str) -> bool:
    labels = layer.get("Labels") or {}
    # Layers of earlier versions do not say whose they are.
    return labels.get(PROJECT) == project and labels.get(OWNER, owner) == owner


def drop_unnamed(engine: Engine, digest: str, owner: str) -> None:
    """Remove what a killed process left of making an environment: an image that never got its name.

    The caller has the turn.
    """
    for one in images.find(engine, {DIGEST: digest, OWNER: owner}):
        parent = images.inspect(engine, one["ParentId"]) if not _names(one) and one.get("ParentId") else None
        if parent and ((parent.get("Config") or {}).get("Labels") or {}).get(CONDA):
            try:
                images.remove(engine, one["Id"])
            except EngineAnswerError as error:
                if error.status != 409:  # a container is made of it
                    raise


def discard(engine: Engine, image_id: str) -> None:
    """Remove an image that another has taken the name of, unless it has one more or a container uses it."""
    found = images.inspect(engine, image_id)
    if found is None or found.get("RepoTags"):
        return
    looked = _Looked(engine)
    listed = next((one for one in looked.environments if one["Id"] == image_id), {"Id": image_id})
    below = looked.below(listed)
    if not _remove(looked, listed, image_id, below, dry_run=False).kept:
        looked.forget(image_id)
        list(_remove_layers(looked, {one["Id"]: one for one in below}, dry_run=False))


def _remove(
    looked: _Looked, listed: dict[str, Any], name: str, below: Iterable[dict[str, Any]], *, dry_run: bool
) -> Removal:
    size = _own_size(looked, listed, below)
    if not dry_run:
        try:
            images.remove(looked.engine, name)
        except EngineAnswerError as error:
            if error.status != 409:
                raise
            return Removal(name, 0, f"it is in use: {error.reason}")
    return Removal(name, size)


def _remove_layers(looked: _Looked, layers: dict[str, dict[str, Any]], *, dry_run: bool) -> Iterator[Removal]:
    """Remove those of the layers that are in no use, and have no name that somebody else gave them."""
    named = [(name, one) for one in looked.unused(layers) for name in _names(one) or [one["Id"]]]
    for name, layer in sorted(named, key=lambda one: one[0]):
        # One that was made anew has lost its name to the new one.
        if name.startswith((_LAYERS, "sha256:")):
            yield _remove(looked, layer, name, (), dry_run=dry_run)


def _names(listed: dict[str, Any]) -> list[str]:
    return [name for name in listed.get("RepoTags") or () if name != "<none>:<none>"]


def _chain(found: dict[str, Any] | None) -> list[str]:
    return list(((found or {}).get("RootFS") or {}).get("Layers") or ())


def _is_below(chain: list[str], other: list[str]) -> bool:
    return bool(chain) and other[: len(chain)] == chain


def _own_size(looked: _Looked, listed: dict[str, Any], below: Iterable[dict[str, Any]]) -> int:
    """What the last layer of an image takes; 0 where the image has another name too, and so stays."""
    if len(_names(listed)) > 1:
        return 0
    for layer in below:
        return max(0, int(listed.get("Size", 0)) - int(layer.get("Size", 0)))
    steps = images.history(looked.engine, listed["Id"])
    return int(steps[0]["Size"]) if steps else 0
