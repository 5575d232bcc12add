"""What our labels on images, containers and volumes are called: a name has one meaning, wherever it stands.

A container has the labels of its image too, unless its own say otherwise.
"""

from __future__ import annotations

__all__ = [
    "BASE",
    "BUILDING",
    "CONDA",
    "DIGEST",
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
"""The name of a project. On containers of earlier versions, its folder."""
PROJECT_FOLDER = "amlexec.project.folder"
"""Its folder, on the machine that it is on."""
OWNER = "amlexec.owner"
"""Which machine and folder a project is, where several machines use an engine: see `amlexec.owner`."""

DIGEST = "amlexec.digest"
"""Of an environment. It makes an image one, together with its name, which it is given last of all."""
RECIPE = "amlexec.recipe"
BASE = "amlexec.base"
PYTHON = "amlexec.python"
PLATFORM = "amlexec.platform"
CONDA = "amlexec.conda"
"""An image is the conda layer of that digest: what environments that differ in their pip section share."""

BUILDING = "amlexec.building"
"""In a container something is being made: its digest."""
MAKER = "amlexec.building.by"
"""Which process makes it."""
VOLUME = "amlexec.volume"
"""What is in a volume."""

RUN = "amlexec.run"
"""The id of the run that a container is."""
RECORD = "amlexec.record"
"""The run's record, as it was when it began."""
