"""Hadoop's daemons from Maven's central repository: YARN's and HDFS's, of the version that Spark's jars have.

The cluster that is made of them is in `tests/support/yarn.py`.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from . import spark, tools
from .places import can_install, state

__all__ = ["VERSION", "folder", "is_there", "ready", "remove"]

VERSION = "3.3.4"
_FOLDER = "hadoop"
_RECIPE = "recipe.txt"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
_ARTIFACTS = (
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
    try:
        return (folder() / _RECIPE).read_text("utf-8") == _recipe() and spark.is_there()
    except FileNotFoundError:
        return False


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
    shutil.rmtree(folder(), ignore_errors=True)
    folder().mkdir()
    dependencies = "".join(_DEPENDENCY.format(artifact, VERSION) for artifact in _ARTIFACTS)
    (folder() / "pom.xml").write_text(_PROJECT.format(dependencies), "utf-8")
    tools.run(
        [
            "mvn",
            "-q",
            "-B",
            f"{_PLUGIN}:copy-dependencies",
            f"-DoutputDirectory={folder()}",
            "-DincludeScope=runtime",
        ],
        "fetching Hadoop's daemons",
        folder=folder(),
    )
    (folder() / _RECIPE).write_text(_recipe(), "utf-8")


def remove() -> None:
    """Remove the folder."""
    shutil.rmtree(folder(), ignore_errors=True)


def _recipe() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
