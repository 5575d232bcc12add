"""Resolve an environment to all its packages, of conda and pip, by file and content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.packages import conda_solve, pip_resolve
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from rattler import RepoDataRecord

    from amlexec.dependencies import CondaDependencies
    from amlexec.packages.network import Network
    from amlexec.packages.pip_pins import Pin
    from amlexec.packages.platforms import Platform
    from amlexec.packages.requirements import Requirements
    from amlexec.values import Project

__all__ = ["Resolution", "resolve"]


class Resolution(NamedTuple):
    """Every package of an environment. Equal resolutions install equal files."""

    records: tuple[RepoDataRecord, ...]
    """conda packages, sorted by name."""
    pins: tuple[Pin, ...] = ()
    """pip packages, sorted by name."""
    channels: tuple[str, ...] = ()
    """The addresses of the channels in order, without passwords."""

    @property
    def conda(self) -> tuple[tuple[str, str, str, str], ...]:
        """Name, version, build and address without a password of each conda package."""
        return tuple(
            (record.name.source, str(record.version), str(record.build), public(record.url))
            for record in self.records
        )

    @property
    def python(self) -> str:
        """The version of its Python."""
        return conda_solve.python_version(self.records)


def resolve(
    project: Project,
    dependencies: CondaDependencies,
    requirements: Requirements,
    platform: Platform,
    network: Network,
    *,
    cache: Path,
    kept: Resolution | None = None,
    upgraded: Collection[str] = (),
    step: Callable[[str], None] = lambda _: None,
) -> Resolution:
    """Solve the conda section, then the pip section beside it.

    Versions of `kept` stay if they fit, except those of packages in `upgraded`. `step` gets a line for each
    step.

    Raises:
        ConfigurationError: the dependencies are unsolvable.
        TargetError: a channel or an index cannot be reached.
    """
    names = {name.lower().replace("_", "-") for name in upgraded}
    records = (
        [each for each in kept.records if each.name.normalized.replace("_", "-") not in names] if kept else []
    )
    pins = [pin for pin in kept.pins if pin.name not in names] if kept else []
    step("solving the conda packages")
    solved = conda_solve.solve(project, dependencies, platform, network, cache=cache, preferred=records)
    if requirements.entries:
        step("resolving the pip section")
    resolved = pip_resolve.resolve(
        project.root, requirements, solved, platform, network, cache=cache, preferred=pins
    )
    addresses = (public(source.address) for source in conda_solve.channels(project, dependencies, network))
    return Resolution(tuple(solved), resolved, tuple(addresses))
