"""What is asked of a build, and what it gives back: values alone, for whoever does not build."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.model import Place, SparkDependencies

if TYPE_CHECKING:
    from amlexec.environments.lockfile import Lock
    from amlexec.environments.spec import EnvironmentSpec
    from amlexec.model import CondaDependencies, Project
    from amlexec.packages.requirements import Requirements

__all__ = ["BuildResult", "BuildRequest"]


class BuildRequest(NamedTuple):
    """An environment that is to be made."""

    project: Project
    spec: EnvironmentSpec
    digest: str
    dependencies: CondaDependencies
    requirements: Requirements
    base_place: Place
    lock: Lock | None = None
    """The lock file beside the dependencies, where there is one: exactly its packages are installed."""
    spark: SparkDependencies = SparkDependencies(Place(""))
    """What Maven packages there are to be; of none where the framework is not PySpark."""
    anew: bool = False
    """Nothing that was made before is part of it, not even its conda layer."""


class BuildResult(NamedTuple):
    """What was made of an order."""

    image_id: str
    base: str
    python: str
    conda: tuple[tuple[str, str, str, str], ...]
    """Name, version, build and address of each conda package."""
    pip: tuple[tuple[str, str], ...]
    """Name and version of everything that Python finds installed."""
