"""What `amlexec.model` does outside of a run."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.config import load as config
from amlexec.environments import python_packages
from amlexec.errors import ConfigurationError
from amlexec.models import registry
from amlexec.models.version import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.models.registry import Registry

__all__ = ["path_of", "register"]


def register(name: str, path: str, tags: Mapping[str, str], description: str) -> int:
    """Register a file or folder; the number of its version."""
    packages = python_packages.listed(sys.path).versions
    origin = Origin(platform.python_version(), dict(sorted(packages.items())))
    texts = {str(key): str(value) for key, value in tags.items()}
    found = _registry().register(name, Path(path), origin=origin, tags=texts, description=description)
    return found.model.number


def path_of(reference: str) -> str:
    """The path of a registered file or folder, compared with its digest."""
    found = _registry()
    return str(found.path(found.find(reference)))


def _registry() -> Registry:
    try:
        project = config.find_project(Path.cwd())
    except ConfigurationError:
        return registry.opened(None)
    return registry.opened(project)
