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
    "SERVICE",
    "SERVICE_CONTENT",
    "SERVICE_ENVIRONMENT",
    "SERVICE_GENERATION",
    "SERVICE_IMAGE",
    "SERVICE_MODELS",
    "SERVICE_OWNER",
    "SERVICE_ROLE",
    "SERVICE_SETTINGS",
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

SERVICE_IMAGE = "amlexec.service.image"
"""The name of an image of a service."""
SERVICE_CONTENT = "amlexec.service.content"
"""The digest of all that an image of a service has, its environment included."""
SERVICE_ENVIRONMENT = "amlexec.service.environment"
"""The digest of its environment."""
SERVICE_OWNER = "amlexec.service.owner"
"""On images: as OWNER, which is that of an environment."""
SERVICE_MODELS = "amlexec.service.models"
"""Its models, `NAME:VERSION`, separated by commas."""
SERVICE = "amlexec.service"
"""The name of a container's service."""
SERVICE_ROLE = "amlexec.service.role"
"""`listener` or `replica`."""
SERVICE_GENERATION = "amlexec.service.generation"
"""The number of a replica's deployment."""
SERVICE_SETTINGS = "amlexec.service.settings"
"""What a service was deployed with, as JSON."""

RUN = "amlexec.run"
"""The id of a container's run."""
RECORD = "amlexec.record"
"""The run's record at its start."""
