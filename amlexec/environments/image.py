"""The image of an environment: what it is called, what its labels say, and whether the engine has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from amlexec.engine import Engine

__all__ = ["CONDA", "DIGEST", "NAME", "PREFIX", "Image", "Shelf", "reference"]

NAME = "amlexec"
"""The repository of every image that is made here; the tag is the beginning of the digest."""
PREFIX = "/opt/amlexec/env"
"""Where the environment is in an image: one environment, so one place."""

DIGEST = "amlexec.digest"
"""The label that makes an image an environment: the last commit writes it, so half of one never has it."""
PROJECT = "amlexec.project"
RECIPE = "amlexec.recipe"
BASE = "amlexec.base"
PYTHON = "amlexec.python"
PLATFORM = "amlexec.platform"
CONDA = "amlexec.conda"
"""The label of an image that is a conda layer: what environments that differ in their pip section share."""


class Image(NamedTuple):
    """An environment that the engine has."""

    image_id: str
    digest: str
    python: str
    """Version."""
    platform: str
    base: str
    """Reference of the base image by digest, or by id where it has none."""
    project: str
    """Name of the project that it was first made for."""


class Shelf:
    """The environments that an engine has, asked for once; `forget` after a change."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._images: dict[str, Image] | None = None

    def get(self, digest: str) -> Image | None:
        """The environment with that digest, if the engine has it."""
        return self.all().get(digest)

    def all(self) -> dict[str, Image]:
        """Every environment, by digest."""
        if self._images is None:
            from amlexec import images

            self._images = {}
            for found in images.find(self.engine, {DIGEST: ""}):
                image = _image(found)
                # What others have built on an environment carries its labels too, and not its name.
                if reference(image.digest) in (found.get("RepoTags") or ()):
                    self._images[image.digest] = image
        return self._images

    def forget(self) -> None:
        """Ask again next time."""
        self._images = None


def _image(found: dict[str, object]) -> Image:
    labels = found["Labels"]
    assert isinstance(labels, dict), "it was found by its labels"
    return Image(
        str(found["Id"]),
        labels[DIGEST],
        labels.get(PYTHON, ""),
        labels.get(PLATFORM, ""),
        labels.get(BASE, ""),
        labels.get(PROJECT, ""),
    )


def reference(digest: str, kind: str = "") -> str:
    """The name under which the engine has an environment, or with `kind` a part of one."""
    return f"{NAME}{f'-{kind}' if kind else ''}:{digest[:20]}"
