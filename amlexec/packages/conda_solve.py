"""Solve the conda part of an environment for the target's platform, by rattler.

The result depends on the channels, the specs and the target's virtual packages, not on this machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import private_folders
from amlexec.dependencies import Line
from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages import conda_errors, conda_spec
from amlexec.packages.network import client
from amlexec.packages.rattler_calls import awaited
from amlexec.packages.urls import expand, expand_public, is_address, is_readable, public, unset_variables
from amlexec.values import Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rattler import Channel, RepoDataRecord

    from amlexec.dependencies import CondaDependencies
    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform
    from amlexec.values import Project

__all__ = ["channels", "python_version", "solve", "with_passwords"]

_IMPLIED = "python"
"""Every script needs Python, even if the file does not name it."""


def solve(
    project: Project,
    dependencies: CondaDependencies,
    platform: Platform,
    network: Network,
    *,
    cache: Path,
    preferred: Sequence[RepoDataRecord] = (),
) -> list[RepoDataRecord]:
    """Solve the conda section; returns its packages, sorted by name.

    `cache` is the folder of `network.cache_folder`. Versions of `preferred`, the records of an earlier solve,
    are kept if they still fit.

    Raises:
        ConfigurationError: a line is invalid, names a package that no channel has, or is unsolvable.
        TargetError: a channel cannot be reached.
    """
    sources = channels(project, dependencies, network)
    specs = _specs(dependencies)
    found: list[RepoDataRecord] = awaited(_solve, sources, specs, platform, network, cache, preferred)
    return found


def channels(
    project: Project, dependencies: CondaDependencies, network: Network
) -> list[conda_errors.ChannelSource]:
    """The channels in order, as addresses: names and paths resolved, `defaults` expanded, passwords added.

    Raises:
        ConfigurationError: an address is invalid, or a variable in it is not set.
    """
    expanded = [(expand_public(line.text, os.environ), line) for line in dependencies.channels]
    by_name = {conda_spec.canonical_channel(text): line for text, line in reversed(expanded)}
    found = []
    for name in conda_spec.channels([text for text, _ in expanded]):
        line = by_name.get(name, Line(name, dependencies.place))
        text = expand(line.text.strip(), os.environ)
        is_unset = bool(unset_variables(line.text, os.environ))
        if is_unset or not is_readable(text):
            problem = "has a variable that is not set" if is_unset else "is not a valid address"
            raise ConfigurationError(f"the channel {public(line.text)} {problem}", where=str(line.place))
        texts = list(network.default_channels) if text == "defaults" else [_address(project, text, network)]
        found += [conda_errors.ChannelSource(str(address), line) for address in texts]
    return found


def _address(project: Project, text: str, network: Network) -> str:
    if is_address(text):
        return text
    if text.startswith((".", "/", "~")) or "\\" in text:
        return Path(project.root, Path(text.replace("\\", "/")).expanduser()).resolve().as_uri()
    return f"{network.channel_alias.rstrip('/')}/{text}"


def _specs(dependencies: CondaDependencies) -> list[Line]:
    """The lines, and the implied packages: Python, and pip if there is a pip section, as in conda."""
    lines = [line._replace(text=expand(line.text, os.environ)) for line in dependencies.specs]
    names = {conda_spec.name_of(line.text) for line in lines}
    implied = [_IMPLIED, *(["pip"] if dependencies.pip else [])]
    return [
        *lines,
        *(Line(name, dependencies.place) for name in implied if name not in names),
    ]


async def _solve(
    sources: list[conda_errors.ChannelSource],
    specs: list[Line],
    platform: Platform,
    network: Network,
    cache: Path,
    preferred: Sequence[RepoDataRecord],
) -> list[RepoDataRecord]:
    import rattler
    from rattler import exceptions

    gateway = rattler.Gateway(cache_dir=_made(cache / "channels"), client=client(network))
    channels = [_channel(source) for source in sources]
    match_specs = _match_specs(specs)
    # rattler loads only records that fit a spec, so it would not notice that the first channel with a package
    # has no fitting version of it. With the bare name it loads all versions.
    names = [
        rattler.MatchSpec(name) for name in {conda_spec.name_of(line.text): None for line in specs} if name
    ]
    try:
        records = await rattler.solve(
            channels,
            [*match_specs, *names],
            gateway=gateway,
            platforms=[rattler.Subdir(platform.subdir), rattler.Subdir("noarch")],
            virtual_packages=_virtual_packages(platform),
            channel_priority=rattler.ChannelPriority.Strict,
            locked_packages=list(preferred),
            channel_relations="disabled",
        )
    except exceptions.SolverError as error:
        request = conda_errors.SolveRequest(channels, sources, specs, match_specs, platform)
        raise await conda_errors.unsolvable(str(error), request, gateway) from None
    except (exceptions.GatewayError, exceptions.FetchRepoDataError, exceptions.IoError) as error:
        raise conda_errors.unreachable(str(error), sources, network) from None
    return sorted(records, key=lambda record: record.name.normalized)


def _channel(source: conda_errors.ChannelSource) -> Channel:
    import rattler
    from rattler import exceptions

    try:
        return rattler.Channel(source.address)
    except exceptions.InvalidChannelError as error:
        raise ConfigurationError(
            f"the channel {public(source.address)} is invalid: {public(str(error))}",
            where=str(source.line.place),
            hint="write a channel's name, its address, or a folder",
        ) from None


def _match_specs(specs: list[Line]) -> list[Any]:
    found, bad = [], []
    for line in specs:
        try:
            found.append(conda_spec.parsed(line.text))
        except conda_spec.BadSpecError as error:
            bad.append(Violation(line.place, "error", str(error), error.hint))
    if bad:
        raise ConfigurationError(bad[0].message, where=str(bad[0].place), hint=bad[0].hint, violations=bad)
    return found


def _virtual_packages(platform: Platform) -> list[Any]:
    from rattler import BuildString, GenericVirtualPackage, PackageName, Version

    return [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
        for name, version, build in platform.virtual_packages
    ]


def _made(folder: Path) -> Path:
    try:
        # Private: cached channel data has the channel's address, with the login in it.
        private_folders.make(folder)
    except OSError as error:
        raise conda_errors.no_cache(folder, error) from error
    return folder


def python_version(records: Sequence[RepoDataRecord]) -> str:
    """The version of the Python among the packages, such as `3.12.4`.

    Raises:
        TargetError: no Python among them.
    """
    for record in records:
        if record.name.normalized == "python":
            return str(record.version)
    raise TargetError("there is no Python among the conda packages", hint="add `python` to the dependencies")


def with_passwords(
    records: Sequence[RepoDataRecord], sources: Sequence[conda_errors.ChannelSource]
) -> list[RepoDataRecord]:
    """Records of a lock file, with the passwords of their channels added."""
    import rattler

    found = []
    for record in records:
        for source in sources:
            bare = public(source.address).rstrip("/")
            if bare != source.address.rstrip("/") and record.url.startswith(f"{bare}/"):
                address = source.address.rstrip("/") + record.url[len(bare) :]
                record = rattler.RepoDataRecord(record, record.file_name, address, source.address)  # noqa: PLW2901
                break
        found.append(record)
    return found
