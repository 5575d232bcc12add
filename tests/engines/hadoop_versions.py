"""The versions of Hadoop that the suite can be run against; AMLEXEC_TEST_HADOOP names another one.

Each with a Spark whose jars have it: Spark 3.5 and Hadoop 3.3 are the usual ones, Spark 4 has Hadoop 3.5.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from . import hadoop, spark, tools
from .hadoop import _ARTIFACTS, _DEPENDENCY, _PLUGIN, _PROJECT
from .places import state

__all__ = ["SPARKS", "VARIABLE", "folder", "is_there", "ready", "remove", "spark_version", "version"]

VARIABLE = "AMLEXEC_TEST_HADOOP"
SPARKS = {hadoop.VERSION: spark.SPARK, "3.5.0": spark.NEWER}
_RECIPE = "recipe.txt"


def version() -> str:
    """The version of this session. Raises MissingError if it is none that is known."""
    found = os.environ.get(VARIABLE) or hadoop.VERSION
    if found not in SPARKS:
        raise tools.MissingError(f"{VARIABLE} is {found!r}; expected {' or '.join(SPARKS)}")
    return found


def spark_version() -> str:
    """The version of Spark that goes with it."""
    return SPARKS[version()]


def _is_usual() -> bool:
    return version() == hadoop.VERSION


def folder() -> Path:
    """The folder with the daemons' jars."""
    return hadoop.folder() if _is_usual() else state() / f"hadoop-{version()}"


def is_there() -> bool:
    """Whether they are there, fetched by this recipe, and a Spark for them."""
    if _is_usual():
        return hadoop.is_there()
    try:
        return (folder() / _RECIPE).read_text("utf-8") == _recipe() and spark.is_there()
    except FileNotFoundError:
        return False


def ready() -> None:
    """Fetch them anew. Raises MissingError, ToolError."""
    if _is_usual():
        hadoop.ready()
        return
    if not spark.is_there() or shutil.which("mvn") is None:
        raise tools.MissingError("no Hadoop: there is no Spark, or no Maven")
    print(f"fetching Hadoop {version()}")
    fetch(folder(), _ARTIFACTS, "-DincludeScope=runtime")
    (folder() / _RECIPE).write_text(_recipe(), "utf-8")


def fetch(into: Path, artifacts: tuple[str, ...], *options: str) -> None:
    """Fetch the jars of artifacts of that version, and of what they need. Raises ToolError."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    dependencies = "".join(_DEPENDENCY.format(artifact, version()) for artifact in artifacts)
    (into / "pom.xml").write_text(_PROJECT.format(dependencies), "utf-8")
    words = ["mvn", "-q", "-B", f"{_PLUGIN}:copy-dependencies", f"-DoutputDirectory={into}", *options]
    tools.run(words, f"fetching jars of Hadoop {version()}", folder=into)


def remove() -> None:
    """Remove the folder."""
    shutil.rmtree(folder(), ignore_errors=True)


def _recipe() -> str:
    made = Path(__file__).read_bytes() + Path(hadoop.__file__).read_bytes()
    return hashlib.sha256(made).hexdigest()
