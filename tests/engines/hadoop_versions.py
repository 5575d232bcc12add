"""The versions of Hadoop that the suite can be run against; AMLEXEC_TEST_HADOOP names another one.

Each with a Spark whose jars have it: Spark 3.5 and Hadoop 3.3 are the usual ones, Spark 4 has Hadoop 3.5.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from . import hadoop, recipe_folder, spark, tools
from .places import state

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SPARKS", "VARIABLE", "folder", "is_there", "ready", "remove", "spark_version", "version"]

VARIABLE = "AMLEXEC_TEST_HADOOP"
SPARKS = {hadoop.VERSION: spark.SPARK, "3.5.0": spark.NEWER}


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
    return recipe_folder.is_there(folder(), _recipe()) and spark.is_there()


def ready() -> None:
    """Fetch them anew. Raises MissingError, ToolError."""
    if _is_usual():
        hadoop.ready()
        return
    if not spark.is_there() or shutil.which("mvn") is None:
        raise tools.MissingError("no Hadoop: there is no Spark, or no Maven")
    print(f"fetching Hadoop {version()}")
    with recipe_folder.replaced(folder(), _recipe) as new:
        hadoop.fetch(new, version(), hadoop.DAEMONS, "-DincludeScope=runtime")


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(folder())


def _recipe() -> str:
    return recipe_folder.recipe(__file__, hadoop.__file__)
