"""Convert readings to the values of `amlexec.values`: the last step of READ."""

from __future__ import annotations

import sys
from functools import lru_cache

from amlexec import kinds
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import ComputeTarget, Place, RunConfiguration, WantedModel

if TYPE_CHECKING:
    from typing import Any

    from amlexec.config.generations import Reading
    from amlexec.dependencies import CondaDependencies, Line, SparkDependencies
    from amlexec.search.section import SweepSection

__all__ = [
    "compute_target",
    "conda",
    "normal",
    "own_target",
    "overridden",
    "run_configuration",
    "spark",
    "sweep",
]


@lru_cache(1000)
def normal(path: str) -> str:
    """A path of a declaration with `/` and without `./`, also if the file was written on Windows."""
    parts = [part for part in path.replace("\\", "/").split("/") if part != "."]
    return "/".join(part for index, part in enumerate(parts) if part or index == 0) or "."


def run_configuration(name: str, path: str, reading: Reading) -> RunConfiguration:
    """A run configuration; `path` is how messages name its file."""
    fields: dict[str, Any] = dict(reading["runconfig"])
    if "conda" in reading and "conda_dependencies_file" not in fields:
        fields["conda_dependencies_file"] = path
    if "spark" in reading:
        fields["spark_dependencies_file"] = path
    for field in ("conda_dependencies_file", "spark_dependencies_file"):
        if field in fields:
            fields[field] = normal(fields[field])
    fields["argument_vector"] = tuple(fields.get("argument_vector", ()))
    fields["environment_variables"] = tuple(map(tuple, fields.get("environment_variables", ())))
    fields["argument_vector_place"] = Place(path, *reading["places"].get("argument_vector", ()))
    fields["target"] = fields.get("target", "").removesuffix(".compute")
    models = fields.get("models", ())
    fields["models"] = tuple(WantedModel(text, Place(path, *place)) for text, *place in models)
    return RunConfiguration(name=name, place=Place(path), **fields)


def compute_target(name: str, path: str, fields: dict[str, Any]) -> ComputeTarget:
    """A compute target; `path` is how messages name its file."""
    defaults = {
        # Docker Desktop on Windows shares folders only after a change of its settings.
        "shared_volumes": sys.platform != "win32",
        "user_managed_environment": kinds.of(fields["kind"]).is_user_managed,
    }
    fields = defaults | fields
    if "sbatch" in fields:
        fields["sbatch"] = tuple(fields["sbatch"])
    if "node_selector" in fields:
        fields["node_selector"] = tuple(fields["node_selector"].items())
    if "tolerations" in fields:
        fields["tolerations"] = tuple(tuple(each.items()) for each in fields["tolerations"])
    return ComputeTarget(name=name, place=Place(path), **fields)


def own_target(name: str, path: str, reading: Reading) -> ComputeTarget:
    """The compute target that a camelCase file itself describes."""
    target = compute_target(name, path, reading["own"])
    return target._replace(elsewhere=_elsewhere(path, reading))


def _elsewhere(path: str, reading: Reading) -> tuple[tuple[str, Place], ...]:
    where: dict[str, list[int]] = reading.get("where", {})
    if not where:
        return ()
    from amlexec.config.keys import COMPUTE_KEYS

    return tuple((COMPUTE_KEYS[field], Place(path, *place)) for field, place in where.items())


def overridden(target: ComputeTarget, reading: Reading, path: str = "") -> ComputeTarget:
    """A compute target, overridden by the camelCase run configuration `path`."""
    kind = (kinds.of(target.kind).contained if reading.get("docker") else "") or target.kind
    own: dict[str, Any] = reading.get("own", {})
    fields = dict(reading.get("compute", {}))
    if kind != target.kind:
        fields = {"user_managed_environment": False} | fields
    if kind != target.kind and not target.base_docker_image:
        fields = {"base_docker_image": own.get("base_docker_image", "")} | fields
    return target._replace(kind=kind, elsewhere=_elsewhere(path, reading), **fields)


def _lines(path: str, lines: list[list[Any]]) -> tuple[Line, ...]:
    from amlexec.dependencies import Line

    return tuple(Line(text, Place(path, line, column)) for text, line, column in lines)


def conda(path: str, reading: Reading) -> CondaDependencies:
    """The conda dependencies of a reading; empty if it has no such section."""
    from amlexec.dependencies import CondaDependencies

    section = reading.get("conda", {})
    channels, specs, pip = (_lines(path, section.get(key, [])) for key in ("channels", "specs", "pip"))
    return CondaDependencies(Place(path), channels, specs, pip)


def spark(path: str, reading: Reading) -> SparkDependencies:
    """The Spark dependencies of a reading; empty if it has no such section."""
    from amlexec.dependencies import SparkDependencies, SparkPackage

    section = reading.get("spark", {})
    return SparkDependencies(
        place=Place(path),
        configuration=tuple((name, value) for name, value in section.get("configuration", ())),
        repositories=tuple(section.get("repositories", ())),
        packages=tuple(SparkPackage(*parts) for parts in section.get("packages", ())),
    )


def sweep(reading: Reading) -> SweepSection:
    """The `Sweep` section of a run configuration; an empty one if it has none."""
    from amlexec.search.section import section

    return section(reading.get("sweep", {}))
