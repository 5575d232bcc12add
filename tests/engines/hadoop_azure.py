"""Hadoop's connector to Azure's storage (`wasb://`, `abfs://`), from Maven's central repository.

Beside the daemons and Spark, which have the rest of what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import hadoop, hadoop_versions, recipe_folder, tools
from .places import state

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["folder", "is_there", "ready", "remove"]

_JARS = (
    "hadoop-azure",
    "azure-storage",
    "azure-keyvault-core",
    "jetty-util",
    "jetty-util-ajax",
    "wildfly-openssl",
)


def folder() -> Path:
    """The folder with the jars."""
    return state() / f"hadoop-azure-{hadoop_versions.version()}"


def is_there() -> bool:
    """Whether they are there, fetched by this recipe, and Hadoop for them."""
    return recipe_folder.is_there(folder(), _recipe()) and hadoop_versions.is_there()


def ready() -> None:
    """Fetch them anew. Raises MissingError, ToolError."""
    if not hadoop_versions.is_there():
        raise tools.MissingError("no connector to Azure's storage: there is no Hadoop")
    print(f"fetching Hadoop's connector to Azure's storage {hadoop_versions.version()}")
    with recipe_folder.replaced(folder(), _recipe) as new:
        wanted = f"-DincludeArtifactIds={','.join(_JARS)}"
        hadoop.fetch(new, hadoop_versions.version(), ("hadoop-azure",), wanted)


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(folder())


def _recipe() -> str:
    return recipe_folder.recipe(__file__, hadoop_versions.__file__, hadoop.__file__)
