"""Hadoop's daemons from Maven's central repository: YARN's and HDFS's, of the version that Spark's jars have.

The cluster that is made of them is in `tests/support/yarn.py`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from . import recipe_folder, spark, tools
from .places import can_install, state

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DAEMONS", "VERSION", "fetch", "folder", "is_there", "ready", "remove"]

VERSION = "3.3.4"
_FOLDER = "hadoop"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
DAEMONS = (
    "hadoop-yarn-server-resourcemanager",
    "hadoop-yarn-server-nodemanager",
    "hadoop-yarn-server-timelineservice",
    "hadoop-yarn-client",
    "hadoop-common",
    "hadoop-hdfs",
)
"""Not `hadoop-client-minicluster`, which has all of these: its REST interfaces answer with broken JSON."""
_DEPENDENCY = (
    "<dependency><groupId>org.apache.hadoop</groupId><artifactId>{}</artifactId><version>{}</version>"
    "</dependency>"
)
_PROJECT = (
    "<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>test</artifactId>"
    "<version>1</version><dependencies>{}</dependencies></project>"
)


def folder() -> Path:
    """The folder with the jars."""
    return state() / _FOLDER


def is_there() -> bool:
    """Whether they are there, fetched by this recipe, and a Spark for them."""
    return recipe_folder.is_there(folder(), _recipe()) and spark.is_there()


def ready() -> None:
    """Fetch them anew. Raises MissingError, ToolError."""
    if not spark.is_there():
        raise tools.MissingError("no Hadoop: there is no Spark")
    if shutil.which("mvn") is None:
        if not can_install():
            raise tools.MissingError("no Hadoop: install Maven (Debian: maven)")
        print("installing Maven")
        tools.install("maven")
    print(f"fetching Hadoop {VERSION}")
    with recipe_folder.replaced(folder(), _recipe) as new:
        fetch(new, VERSION, DAEMONS, "-DincludeScope=runtime")


def fetch(into: Path, version: str, artifacts: tuple[str, ...], *options: str) -> None:
    """Fetch the jars of artifacts of a version, and of what they need, into a folder. Raises ToolError."""
    dependencies = "".join(_DEPENDENCY.format(artifact, version) for artifact in artifacts)
    (into / "pom.xml").write_text(_PROJECT.format(dependencies), "utf-8")
    words = ["mvn", "-q", "-B", f"{_PLUGIN}:copy-dependencies", f"-DoutputDirectory={into}", *options]
    tools.run(words, f"fetching jars of Hadoop {version}", folder=into)


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(folder())


def _recipe() -> str:
    return recipe_folder.recipe(__file__)
