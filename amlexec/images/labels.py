"""The image of an environment: what it is called, and what its labels say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker.labels import CONDA, OWNER, PROJECT

if TYPE_CHECKING:
    from amlexec.model import Project

__all__ = ["DEFAULT", "NAME", "PREFIX", "of_layer", "reference"]

NAME = "amlexec"
"""The repository of every image that is made here; the tag is the beginning of the digest."""
DEFAULT = "debian:bookworm-slim"
"""Where `baseDockerImage` is not set: small, maintained, with glibc. An environment brings its own Python."""
PREFIX = "/opt/amlexec/env"
"""Where the environment is in an image: one environment, so one place."""


def of_layer(what: str, project: Project) -> dict[str, str]:
    """The labels of a conda layer, `what` by its digest, that is made for a project."""
    from amlexec.owner import owner_of

    return {CONDA: what, PROJECT: project.name, OWNER: owner_of(project)}


def reference(digest: str, kind: str = "") -> str:
    """The name under which the engine has an environment, or with `kind` a part of one."""
    return f"{NAME}{f'-{kind}' if kind else ''}:{digest[:20]}"
