"""The images of amlexec on an engine, and which are built on which."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import CONDA, DIGEST, OWNER, PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.docker.client import Engine

__all__ = ["EngineImages", "is_layer_of", "names_of"]

_HALF_MADE_AGE_S = 600.0
"""An image without a name is being tested, or, when older than this, was left by a killed build."""


class EngineImages:
    """The environments and conda layers on the engine; each image is inspected once at most."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.environments = images.find(engine, {DIGEST: ""})
        found = images.find(engine, {CONDA: ""}, hidden=True)
        # An environment has that label too, but empty.
        self.layers = [layer for layer in found if layer["Labels"].get(CONDA)]
        self._inspected: dict[str, dict[str, Any] | None] = {}

    def inspect(self, image: str) -> dict[str, Any] | None:
        """See `images.inspect`."""
        if image not in self._inspected:
            self._inspected[image] = images.inspect(self.engine, image)
        return self._inspected[image]

    def below(
        self, listed: dict[str, Any], layers: Iterable[dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """The conda layers that an environment or another layer is built on, from the top.

        Only those among `layers`, by default all.
        """
        among = {layer["Id"]: layer for layer in (self.layers if layers is None else layers)}
        if listed.get("ParentId"):
            parents = {layer["Id"]: layer.get("ParentId") for layer in self.layers}
            found, parent = [], listed["ParentId"]
            while parent in parents:
                found.append(parent)
                parent = parents[parent]
            return [among[parent] for parent in found if parent in among]
        # The image was pulled, or this engine keeps no parents: compare the chains of layers.
        chain = _chain(self.inspect(listed["Id"]))
        chains = {image: _chain(self.inspect(image)) for image in among if image != listed["Id"]}
        under = [image for image, layers in chains.items() if _is_below(layers, chain)]
        return [among[image] for image in sorted(under, key=lambda image: -len(chains[image]))]

    def forget(self, image_id: str) -> None:
        """Drop an image that was removed."""
        self.environments = [image for image in self.environments if image["Id"] != image_id]
        self.layers = [layer for layer in self.layers if layer["Id"] != image_id]

    def unused(self, layers: Iterable[str]) -> list[dict[str, Any]]:
        """Those conda layers, by id, that no environment and no other layer is built on, from the top."""
        ids = {*layers}
        left = [layer for layer in self.layers if layer["Id"] in ids]
        for image in [*self.environments, *(layer for layer in self.layers if layer["Id"] not in ids)]:
            if not left:
                break
            used = [layer["Id"] for layer in self.below(image, left)]
            left = [layer for layer in left if layer["Id"] not in used]
        return sorted(left, key=lambda layer: (-len(self.below(layer)), names_of(layer)))

    def own_size(self, listed: dict[str, Any], below: Iterable[dict[str, Any]]) -> int:
        """Size in bytes of an image's last layer; 0 if the image has another name too, and so stays.

        0 also if it is gone: an engine removes an image without a name with the last one built on it.
        """
        if len(names_of(listed)) > 1:
            return 0
        for layer in below:
            return max(0, int(listed.get("Size", 0)) - int(layer.get("Size", 0)))
        try:
            steps = images.history(self.engine, listed["Id"])
        except EngineAnswerError as error:
            if error.status != 404:
                raise
            steps = []
        return int(steps[0]["Size"]) if steps else 0

    def is_left(self, image: dict[str, Any], project: str, owner: str) -> bool:
        """Whether an image is the unfinished result of a build for this project."""
        labels = image.get("Labels") or {}
        if names_of(image) or (labels.get(PROJECT), labels.get(OWNER)) != (project, owner):
            return False
        # An image that someone built on an environment has its labels too, but not a conda layer as parent.
        is_ours = image.get("ParentId") in {layer["Id"] for layer in self.layers}
        return is_ours and time.time() - image.get("Created", 0) > _HALF_MADE_AGE_S


def is_layer_of(layer: dict[str, Any], project: str, owner: str) -> bool:
    """Whether a conda layer was built for this project."""
    labels = layer.get("Labels") or {}
    # Layers of earlier versions have no owner label.
    return labels.get(PROJECT) == project and labels.get(OWNER, owner) == owner


def names_of(listed: dict[str, Any]) -> list[str]:
    """The names of a listed image."""
    return [name for name in listed.get("RepoTags") or () if name != "<none>:<none>"]


def _chain(found: dict[str, Any] | None) -> list[str]:
    return list(((found or {}).get("RootFS") or {}).get("Layers") or ())


def _is_below(chain: list[str], other: list[str]) -> bool:
    return bool(chain) and other[: len(chain)] == chain
