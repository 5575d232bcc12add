"""The names of amlexec's labels on images, containers and volumes. Each has the same meaning everywhere.

A container inherits the labels of its image.
"""

from __future__ import annotations

__all__ = [
    "BASE",
    "BUILDING",
    "CONDA",
    "DIGEST",
    "LOCK",
    "MAKER",
    "OWNER",
    "PLATFORM",
    "PROJECT",
    "PROJECT_FOLDER",
    "PYTHON",
    "RECIPE",
    "RECORD",
    "RUN",
    "VOLUME",
]

PROJECT = "amlexec.project"
"""A project's name. On containers of earlier versions, its folder."""
PROJECT_FOLDER = "amlexec.project.folder"
"""The project's folder, on its own machine."""
OWNER = "amlexec.owner"
"""Identifies a project's machine and folder on an engine that several machines use: see `amlexec.owner`."""

DIGEST = "amlexec.digest"
"""An environment's digest. An image with this label is an environment once it has its name, the last step."""
RECIPE = "amlexec.recipe"
BASE = "amlexec.base"
PYTHON = "amlexec.python"
PLATFORM = "amlexec.platform"
LOCK = "amlexec.lock"
"""The name of an environment's resolved lock, which is a file of the image; "" if it has none."""
CONDA = "amlexec.conda"
"""On images: the digest of a conda layer, which environments with different pip sections share."""

BUILDING = "amlexec.building"
"""On build containers: the digest of what is being built."""
MAKER = "amlexec.building.by"
"""The process that builds it."""
VOLUME = "amlexec.volume"
"""The content of a volume."""

RUN = "amlexec.run"
"""The id of a container's run."""
RECORD = "amlexec.record"
"""The run's record at its start."""
