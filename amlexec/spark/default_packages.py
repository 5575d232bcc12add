"""The Spark and the Java of an environment whose base image is the default one, which has neither.

They are conda packages like those that the dependencies name: solved, locked, and part of the digest.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from amlexec.dependencies import Line
from amlexec.packages import conda_spec
from amlexec.spark import submit_args

if TYPE_CHECKING:
    from amlexec.dependencies import CondaDependencies, SparkDependencies
    from amlexec.packages.requirements import RequirementEntry, Requirements
    from amlexec.values import Place

__all__ = ["added"]

_SPARK, _JAVA = "pyspark", "openjdk"
_NEWEST = f"{_SPARK}>=3.5"
_OF_SCALA = {"2.11": f"{_SPARK}=2.4", "2.12": f"{_SPARK}=3.5", "2.13": f"{_SPARK}>=4"}
"""The newest Spark on PyPI and conda-forge that is built for this Scala."""
_VERSION = re.compile(rf"(?:.*::)?{_SPARK}(?:\[[^]]*\])?\s*(?:={{1,2}}|~=)?\s*(\d+)\.(\d+)")


def added(
    dependencies: CondaDependencies, pip: Requirements, spark: SparkDependencies, place: Place
) -> CondaDependencies:
    """The dependencies with Spark and Java, unless they name these; `place` is that of the base image.

    The version of Spark is that of the Maven packages, if they are parts of Spark or for a Scala version.
    """
    declared = next((line.text for line in dependencies.specs if _named(line.text, _SPARK)), "")
    declared = declared or next((entry.text for entry in pip.entries if _is_spark(entry)), "")
    lines = []
    if not declared:
        declared = _fitting(submit_args.coordinates(spark))
        lines.append(declared)
    if not any(_named(line.text, _JAVA) for line in dependencies.specs):
        lines.append(f"{_JAVA}={_java_for(declared)}")
    specs = (*dependencies.specs, *(Line(text, place) for text in lines))
    return dependencies._replace(specs=specs, with_spark=bool(lines))


def _named(spec: str, name: str) -> bool:
    return conda_spec.name_of(spec) == name


def _is_spark(entry: RequirementEntry) -> bool:
    if entry.is_constraint:
        return False
    return entry.name == _SPARK or PurePath(entry.path).name.lower().startswith(f"{_SPARK}-")


def _fitting(coordinates: tuple[str, ...]) -> str:
    """The spec of a Spark that these Maven packages are for."""
    for coordinate in coordinates:
        group, _, version = coordinate.split(":")
        if group == "org.apache.spark" and (match := re.match(r"\d+\.\d+(?=\.|$)", version)):
            return f"{_SPARK}={match[0]}"
    for coordinate in coordinates:
        match = re.search(r"_(2\.\d+):", coordinate)
        if match and match[1] in _OF_SCALA:
            return _OF_SCALA[match[1]]
    return _NEWEST


def _java_for(spec: str) -> int:
    """The version of Java for a spec of Spark; 17 is for all since 3.3."""
    match = _VERSION.match(spec)
    return 8 if match and (int(match[1]), int(match[2])) < (3, 3) else 17
