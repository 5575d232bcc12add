"""What the dependencies files of a project declare, as immutable values. No I/O."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from amlexec.values import Place

__all__ = ["CondaDependencies", "Line", "SparkDependencies", "SparkPackage"]


class Line(NamedTuple):
    """One entry of a list in a dependencies file, with its place."""

    text: str
    place: Place


class CondaDependencies(NamedTuple):
    """A `conda_dependencies.yml`: conda specs and a pip section, in the order they are written."""

    place: Place
    channels: tuple[Line, ...] = ()
    specs: tuple[Line, ...] = ()
    pip: tuple[Line, ...] = ()
    with_spark: bool = False
    """Whether `specs` has a Spark or a Java that the file does not name, see `spark/default_packages.py`."""


class SparkPackage(NamedTuple):
    """A Maven coordinate."""

    group: str
    artifact: str
    version: str


class SparkDependencies(NamedTuple):
    """A `spark_dependencies.yml`: the input of `spark-submit`."""

    place: Place
    configuration: tuple[tuple[str, str], ...] = ()
    repositories: tuple[str, ...] = ()
    packages: tuple[SparkPackage, ...] = ()
