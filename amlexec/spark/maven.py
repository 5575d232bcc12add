"""The Maven packages of an environment: their part of the digest, and the repositories that are searched.

The search order is that of `spark-submit --packages`: the named repositories, then Maven Central and
spark-packages.org; the first repository with a package wins. If all named repositories are folders, only
these are searched.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.digest import canonical_json, of_bytes, of_file
from amlexec.packages.urls import is_loopback, public
from amlexec.spark import submit_args

if TYPE_CHECKING:
    from amlexec.dependencies import SparkDependencies
    from amlexec.values import Project

__all__ = ["CENTRAL", "SPARK_MISSING", "files", "folders", "further", "needs_this_machine", "value"]

SPARK_MISSING = (
    "add pyspark and openjdk to the conda dependencies, or set baseDockerImage to an image that has "
    "Spark (SPARK_HOME, or spark-submit on PATH), or remove it: the default image gets both"
)
CENTRAL = "https://repo1.maven.org/maven2/"
_OTHERS = "https://repos.spark-packages.org/"


def value(project: Project, dependencies: SparkDependencies) -> tuple[str, ...]:
    """The part of the environment's canonical value: lines that decide which packages are installed.

    Empty without packages. A folder is digested by the named packages in it, not by its path.

    Raises:
        ConfigurationError: a folder does not exist.
    """
    named = submit_args.coordinates(dependencies)
    if not named:
        return ()
    submit_args.folders_must_be_there(dependencies, project.root)
    lines = list(named)
    for address in submit_args.repositories(dependencies):
        if address.lower().startswith("file:"):
            content = [
                (inside, of_file(path))
                for inside, path in _package_files(project, dependencies, address)
                if inside
            ]
            lines.append(f"folder {of_bytes(canonical_json(content))}")
        else:
            lines.append(f"repository {public(address)}")
    return (*lines, *(f"without {package}" for package in submit_args.excludes(dependencies)))


def files(project: Project, dependencies: SparkDependencies) -> tuple[str, ...]:
    """The files of the packages in folders of this machine, absolute."""
    return tuple(
        path
        for address in submit_args.folders(dependencies)
        for _, path in _package_files(project, dependencies, address)
        if submit_args.coordinates(dependencies)
    )


def folders(project: Project, dependencies: SparkDependencies) -> tuple[str, ...]:
    """The folders that are searched for the packages, absolute; they need not exist."""
    return tuple(
        os.path.normpath(f"{submit_args.folder_of(project.root, address)}/{_folder(coordinate)}")
        for address in submit_args.folders(dependencies)
        for coordinate in submit_args.coordinates(dependencies)
    )


def _folder(coordinate: str) -> str:
    """The folder of a package in a repository."""
    group, _, rest = coordinate.partition(":")
    return "/".join([*group.split("."), *rest.split(":")])


def _package_files(project: Project, dependencies: SparkDependencies, address: str) -> list[tuple[str, str]]:
    """The named packages in a folder: relative and absolute paths; the folder of each package has ""."""
    root = submit_args.folder_of(project.root, address)
    found = []
    for coordinate in submit_args.coordinates(dependencies):
        folder = _folder(coordinate)
        at = os.path.join(root, folder)  # noqa: PTH118
        if os.path.isdir(at):  # noqa: PTH112
            found.append(("", at))
            found += [(f"{folder}/{file}", f"{at}/{file}") for file in sorted(os.listdir(at))]  # noqa: PTH208
    return [(inside, path) for inside, path in found if not inside or os.path.isfile(path)]  # noqa: PTH113


def further(dependencies: SparkDependencies) -> tuple[str, ...]:
    """The repositories that are searched after the named ones, as in Spark.

    See `spark.jars.packages` in https://spark.apache.org/docs/latest/configuration.html. None if all named
    repositories are folders: then nothing is searched over the network.
    """
    named = submit_args.repositories(dependencies)
    if named and named == submit_args.folders(dependencies):
        return ()
    own = os.environ.get("DEFAULT_ARTIFACT_REPOSITORY")
    return (own,) if own else (CENTRAL, _OTHERS)


def needs_this_machine(dependencies: SparkDependencies) -> bool:
    """Whether a repository is on this machine's loopback, so that only this machine can reach it."""
    return any(
        is_loopback(address) for address in (*submit_args.repositories(dependencies), *further(dependencies))
    )
