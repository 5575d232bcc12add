"""A conda channel in a folder: `pyspark` and `openjdk`, laid out as conda-forge's packages are.

They are made of the Spark and the Java of `spark.py`; nothing is fetched.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from . import packages, recipe_folder, spark, tools
from .packages import Entry, Package
from .places import state

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JAVA", "address", "is_there", "ready", "remove"]

JAVA = "17.0.9"
"""What the package of Java says; it is Debian's."""
_LEFT_OUT = re.compile(r"pyspark/(ml|mllib|pandas|streaming|testing|sql/(connect|tests))/|.*/__pycache__/")
"""Modules: each that an environment has is compiled, and spark-submit takes those in `python/lib`."""
_SCRIPTS = ("spark-submit", "spark-class", "find-spark-home", "load-spark-env.sh")


def address() -> str:
    """The channel's address."""
    return _folder().as_uri()


def is_there() -> bool:
    """Whether it is there, made by this recipe of the parts that are there."""
    return spark.is_there() and recipe_folder.is_there(_folder(), _recipe())


def ready() -> None:
    """Make it anew. Raises MissingError."""
    if not spark.is_there():
        raise tools.MissingError("no conda channel with Spark: there is no Spark")
    print("making a conda channel with Spark and Java")
    with recipe_folder.replaced(_folder(), _recipe) as new:
        made = Package("pyspark", spark.SPARK, "py_0", list(_spark()), ["python >=3.8"], "python")
        packages.write_package(new, made, "conda")
        packages.write_package(new, Package("openjdk", JAVA, "0", list(_java())), "conda")
        asyncio.run(_index(new))


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(_folder())


def _folder() -> Path:
    return state() / "spark-channel"


def _recipe() -> str:
    more = str(spark.installed().java)
    return recipe_folder.recipe(packages.__file__, spark.__file__, __file__, more=more)


def _spark() -> Iterator[Entry]:
    """As `pip install pyspark` has it: the package, and the programs beside Python."""
    home = spark.installed().home()
    for path in sorted(home.parent.rglob("*")):
        inside = path.relative_to(home.parent).as_posix()
        if path.is_file() and not _LEFT_OUT.match(inside):
            yield Entry(f"site-packages/{inside}", path.read_bytes(), path.stat().st_mode & 0o777)
    for path in [*(home / "bin" / name for name in _SCRIPTS), home / "find_spark_home.py"]:
        yield Entry(f"python-scripts/{path.name}", path.read_bytes(), 0o755)


def _java() -> Iterator[Entry]:
    """A JAVA_HOME in `lib/jvm`, with the libraries that it needs, and a link to its program."""
    found = spark.installed()
    for path, inside in spark._files(found.java, found.home()):
        if path.name == "classes_nocoops.jsa":
            continue
        if inside.startswith("opt/java/"):
            place = f"lib/jvm/{inside.removeprefix('opt/java/')}"
        elif ".so" in path.name:
            place = f"lib/jvm/lib/{path.name}"
        else:
            continue
        yield Entry(place, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
    yield Entry("bin/java", link="../lib/jvm/bin/java")


async def _index(channel: Path) -> None:
    from rattler.index import index_fs

    await index_fs(channel, write_shards=False, write_zst=False, force=True)
