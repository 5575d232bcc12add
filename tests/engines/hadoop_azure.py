"""Hadoop's connector to Azure's storage (`wasb://`, `abfs://`), from Maven's central repository.

Beside the daemons and Spark, which have the rest of what it needs.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from . import hadoop, hadoop_versions, tools
from .places import state

__all__ = ["folder", "is_there", "ready", "remove"]

_RECIPE = "recipe.txt"
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
    try:
        return (folder() / _RECIPE).read_text("utf-8") == _recipe() and hadoop_versions.is_there()
    except FileNotFoundError:
        return False


def ready() -> None:
    """Fetch them anew. Raises MissingError, ToolError."""
    if not hadoop_versions.is_there():
        raise tools.MissingError("no connector to Azure's storage: there is no Hadoop")
    print(f"fetching Hadoop's connector to Azure's storage {hadoop_versions.version()}")
    hadoop_versions.fetch(folder(), ("hadoop-azure",), f"-DincludeArtifactIds={','.join(_JARS)}")
    (folder() / _RECIPE).write_text(_recipe(), "utf-8")


def remove() -> None:
    """Remove the folder."""
    shutil.rmtree(folder(), ignore_errors=True)


def _recipe() -> str:
    made = b"".join(Path(str(one.__file__)).read_bytes() for one in (hadoop_versions, hadoop))
    return hashlib.sha256(Path(__file__).read_bytes() + made).hexdigest()
