"""What an environment comes to: every package of it, conda's and pip's, by file and content."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.packages import conda_solve, pip_resolve
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from rattler import RepoDataRecord

    from amlexec.model import CondaDependencies, Project
    from amlexec.packages.network import Network
    from amlexec.packages.pip_pins import Pin
    from amlexec.packages.platforms import Platform
    from amlexec.packages.requirements import Requirements

__all__ = ["Resolution", "resolve"]


class Resolution(NamedTuple):
    """Every package of an environment. With the same one, the same files are installed."""

    records: tuple[RepoDataRecord, ...]
    """Of conda, sorted by name."""
    pins: tuple[Pin, ...] = ()
    """Of pip, sorted by name."""
    channels: tuple[str, ...] = ()
    """The addresses of the channels in order, without passwords."""

    @property
    def python(self) -> str:
        """The version of its Python."""
        return conda_solve.python_version(self.records)


def resolve(
    project: Project,
    dependencies: CondaDependencies,
    found: Requirements,
    platform: Platform,
    network: Network,
    *,
    cache: Path,
    kept: Resolution | None = None,
    upgraded: Collection[str] = (),
    step: Callable[[str], None] = lambda _: None,
) -> Resolution:
    """Solve the conda section, then the pip section beside it.

    `found` is the pip section, read. Versions of `kept` stay wherever they fit, except of the packages
    named in `upgraded`. `step` is told what is being done.

    Raises:
        ConfigurationError: the dependencies cannot be fulfilled.
        TargetError: a channel or an index cannot be reached.
    """
    names = {name.lower().replace("_", "-") for name in upgraded}
    records = (
        [one for one in kept.records if one.name.normalized.replace("_", "-") not in names] if kept else []
    )
    pins = [pin for pin in kept.pins if pin.name not in names] if kept else []
    step("solving the conda packages")
    solved = conda_solve.solve(project, dependencies, platform, network, cache=cache, preferred=records)
    if found.entries:
        step("resolving the pip section")
    resolved = pip_resolve.resolve(
        project.root, found, solved, platform, network, cache=cache, preferred=pins
    )
    addresses = (public(source.address) for source in conda_solve.channels(project, dependencies, network))
    return Resolution(tuple(solved), resolved, tuple(addresses))
