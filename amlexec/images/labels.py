"""Names and labels of the image of an environment."""

from __future__ import annotations

from amlexec.docker.labels import CONDA, OWNER, PROJECT
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.values import Project

__all__ = ["DEFAULT", "LOCK_FILE", "NAME", "PREFIX", "of_layer", "reference"]

NAME = "amlexec"
"""The repository of every image that amlexec builds; the tag is the beginning of the digest."""
DEFAULT = "debian:bookworm-slim"
"""The default of `baseDockerImage`: small, maintained, with glibc. An environment has its own Python."""
LOCK_FILE = "/opt/amlexec/environment.lock"
"""An environment's resolved lock, in its image."""
PREFIX = "/opt/amlexec/env"
"""The environment's folder in an image: one environment per image, so one path."""


def of_layer(what: str, project: Project) -> dict[str, str]:
    """The labels of a conda layer with digest `what` that is built for a project."""
    from amlexec.owner import owner_of

    return {CONDA: what, PROJECT: project.name, OWNER: owner_of(project)}


def reference(digest: str, kind: str = "") -> str:
    """The image name of an environment, or, with `kind`, of a layer of one."""
    return f"{NAME}{f'-{kind}' if kind else ''}:{digest[:20]}"
