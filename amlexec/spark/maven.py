"""The Maven packages of an environment: what of them is in its digest, and where they are looked for.

What is asked is what
`spark-submit --packages` asks: the repositories that are named, then Maven Central and spark-packages.org;
of several that have a package, the first counts. Where all that are named are folders, nobody else is asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.digest import canonical_json, of_bytes, of_file
from amlexec.packages.urls import is_loopback, public
from amlexec.spark import submit_args

if TYPE_CHECKING:
    from amlexec.model import Project, SparkDependencies

__all__ = ["CENTRAL", "SPARK_MISSING", "files", "folders", "further", "needs_this_machine", "value"]

SPARK_MISSING = (
    "add pyspark and openjdk to the conda dependencies, or set baseDockerImage to an image that has "
    "Spark (SPARK_HOME, or spark-submit on PATH)"
)
CENTRAL = "https://repo1.maven.org/maven2/"
_OTHERS = "https://repos.spark-packages.org/"


def value(project: Project, dependencies: SparkDependencies) -> tuple[str, ...]:
    """What decides which packages are installed: canonical lines, none where there are no packages.

    A folder counts by what it has of the packages that are named, and not by where it is.

    Raises:
        ConfigurationError: a folder is not there.
    """
    named = submit_args.coordinates(dependencies)
    if not named:
        return ()
    submit_args.folders_must_be_there(dependencies, project.root)
    lines = list(named)
    for address in submit_args.repositories(dependencies):
        if address.lower().startswith("file:"):
            held = [
                (inside, of_file(path)) for inside, path in _held(project, dependencies, address) if inside
            ]
            lines.append(f"folder {of_bytes(canonical_json(held))}")
        else:
            lines.append(f"repository {public(address)}")
    return (*lines, *(f"without {one}" for one in submit_args.excludes(dependencies)))


def files(project: Project, dependencies: SparkDependencies) -> tuple[str, ...]:
    """The files of this machine that the packages are made of, absolute, as far as they are named."""
    return tuple(
        path
        for address in submit_args.folders(dependencies)
        for _, path in _held(project, dependencies, address)
        if submit_args.coordinates(dependencies)
    )


def folders(project: Project, dependencies: SparkDependencies) -> tuple[str, ...]:
    """The folders that the packages are looked for in, absolute, whether they are there or not."""
    return tuple(
        os.path.normpath(f"{submit_args.folder_of(project.root, address)}/{_folder(coordinate)}")
        for address in submit_args.folders(dependencies)
        for coordinate in submit_args.coordinates(dependencies)
    )


def _folder(coordinate: str) -> str:
    """Where a repository keeps a package."""
    group, _, rest = coordinate.partition(":")
    return "/".join([*group.split("."), *rest.split(":")])


def _held(project: Project, dependencies: SparkDependencies, address: str) -> list[tuple[str, str]]:
    """What a folder has of the packages: paths in it, and absolute; the folder of each package too, as ""."""
    root = submit_args.folder_of(project.root, address)
    found = []
    for coordinate in submit_args.coordinates(dependencies):
        folder = _folder(coordinate)
        at = os.path.join(root, folder)  # noqa: PTH118
        if os.path.isdir(at):  # noqa: PTH112
            found.append(("", at))
            found += [(f"{folder}/{one}", f"{at}/{one}") for one in sorted(os.listdir(at))]  # noqa: PTH208
    return [(inside, path) for inside, path in found if not inside or os.path.isfile(path)]  # noqa: PTH113


def further(dependencies: SparkDependencies) -> tuple[str, ...]:
    """Where packages are looked for after the repositories that are named, as Spark does it.

    `spark.jars.packages` in https://spark.apache.org/docs/latest/configuration.html. Where all that are named
    are folders, they are everything: then nobody is asked over the network.
    """
    named = submit_args.repositories(dependencies)
    if named and named == submit_args.folders(dependencies):
        return ()
    own = os.environ.get("DEFAULT_ARTIFACT_REPOSITORY")
    return (own,) if own else (CENTRAL, _OTHERS)


def needs_this_machine(dependencies: SparkDependencies) -> bool:
    """Whether a repository must see this machine as itself: it is on the loopback."""
    return any(is_loopback(one) for one in (*submit_args.repositories(dependencies), *further(dependencies)))
