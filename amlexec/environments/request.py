"""The input and the result of a build, as values."""

from __future__ import annotations

from amlexec.dependencies import SparkDependencies
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Place

if TYPE_CHECKING:
    from amlexec.dependencies import CondaDependencies
    from amlexec.environments.lockfile import Lock
    from amlexec.environments.spec import EnvironmentSpec
    from amlexec.packages.requirements import Requirements
    from amlexec.values import Project

__all__ = ["BuildRequest", "BuildResult"]


class BuildRequest(NamedTuple):
    """An environment to build."""

    project: Project
    spec: EnvironmentSpec
    digest: str
    dependencies: CondaDependencies
    requirements: Requirements
    base_place: Place
    lock: Lock | None = None
    """The lock file beside the dependencies, if any: exactly its packages are installed."""
    spark: SparkDependencies = SparkDependencies(Place(""))
    """The Maven packages to install; empty if the framework is not PySpark."""
    from_scratch: bool = False
    """Build without reusing anything, not even the conda layer."""


class BuildResult(NamedTuple):
    """The result of a build."""

    image_id: str
    base: str
    python: str
    conda: tuple[tuple[str, str, str, str], ...]
    """Name, version, build and address of each conda package."""
    pip: tuple[tuple[str, str], ...]
    """Name and version of each installed Python package."""
    lock: str = ""
    """The text of its resolved lock; "" if pip's files are not known."""
