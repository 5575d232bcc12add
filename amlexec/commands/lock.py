"""`amlexec lock`: solve the dependencies into a lock file, or check whether it is up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.commands.options import add_project, add_run_configuration, project_of
from amlexec.config import load as config
from amlexec.console import data, say
from amlexec.environments import lockfile, lockfile_write, spec
from amlexec.errors import ConfigurationError, UsageError
from amlexec.packages import platforms
from amlexec.prepare.prepare import dependencies_of

if TYPE_CHECKING:
    import argparse

    from amlexec.dependencies import CondaDependencies
    from amlexec.environments.locked import Locked
    from amlexec.environments.lockfile import Lock
    from amlexec.packages.platforms import Platform
    from amlexec.packages.requirements import Requirements
    from amlexec.packages.resolve import Resolution
    from amlexec.values import Project

__all__ = ["add", "run"]

_EVERYTHING = ""
"""`--upgrade` without a package."""


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    parser = groups.add_parser(
        "lock",
        help="solve the dependencies and write the exact packages into a lock file",
        description="Solve the dependencies of a run configuration and write the exact packages into a lock "
        "file beside the dependencies file. `prepare` then installs exactly these. Versions that are already "
        "locked stay the same if they still fit.",
        allow_abbrev=False,
    )
    add_run_configuration(parser)
    parser.add_argument("-t", "--target", metavar="NAME", help="compute target (default: Target of the file)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--check",
        action="store_true",
        help="only print whether the lock file is up to date: exit code 0 or 1; solves nothing",
    )
    how.add_argument(
        "--upgrade",
        nargs="?",
        const=_EVERYTHING,
        action="append",
        metavar="PACKAGE",
        help="upgrade this package, or every package, to the newest version that fits",
    )
    add_project(parser)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="output format")


class _Request(NamedTuple):
    """The dependencies to lock."""

    project: Project
    file: str
    dependencies: CondaDependencies
    requirements: Requirements
    platform: Platform
    wanted: spec.EnvironmentSpec
    basis: bytes

    @property
    def name(self) -> str:
        """The name of the packages in the lock file."""
        return lockfile.set_name(self.platform, self.dependencies)


def run(arguments: argparse.Namespace) -> int:
    """Lock, or check; the exit code."""
    project = project_of(arguments)
    request = _request(project, arguments.run_configuration, arguments.target or "")
    lock = lockfile.read(project, request.file)
    if arguments.check:
        return _check(request, lock, arguments.output)
    if arguments.upgrade is None and lock is not None and not _reason(request, lock):
        _tell(arguments.output, lock, [], f"{lock.shown} is up to date")
        return 0
    _lock(request, lock, arguments.upgrade, arguments.output)
    return 0


def _request(project: Project, name: str, target_name: str) -> _Request:
    declaration = config.load(project, name, target_name)
    file = declaration.run_configuration.conda_dependencies_file
    target = declaration.compute_target
    spark_file = declaration.run_configuration.spark_dependencies_file
    is_spark = declaration.run_configuration.framework == "PySpark"
    dependencies, requirements = dependencies_of(project, target, file, spark_file if is_spark else "")
    platform = platforms.of_target(target)
    wanted = spec.spec_of(project, target.base_docker_image, dependencies, platform, pip=requirements)
    basis = spec.lock_basis(wanted, requirements)
    return _Request(project, file, dependencies, requirements, platform, wanted, basis)


def _reason(request: _Request, lock: Lock | None) -> str:
    if lock is None:
        return f"there is no {lockfile.path_of(request.file)}"
    return lock.reason(request.basis, request.name, request.wanted.places) or lock.damage()


def _check(request: _Request, lock: Lock | None, form: str) -> int:
    reason = _reason(request, lock)
    if form == "json":
        _json({"lock": lockfile.path_of(request.file), "up_to_date": not reason, "reason": reason})
    elif reason:
        data(f"out of date: {reason}")
    else:
        data(f"{lockfile.path_of(request.file)} is up to date")
    return 1 if reason else 0


def _lock(request: _Request, lock: Lock | None, upgrade: list[str] | None, form: str) -> None:
    from amlexec.packages import conda_solve, network
    from amlexec.packages.resolve import resolve

    if lock is not None and _EVERYTHING in (upgrade or ()) and _is_damaged(lock):
        lock = None
    settings = network.settings()
    if not settings.verifies_channels:
        say("warning: conda's ssl_verify is false: the certificates of channels are not verified")
    named = {name for name in upgrade or () if name}
    before: tuple[Locked, ...] = ()
    kept: Resolution | None = None
    if lock is not None and request.name in dict(lock.bases):
        before = lock.packages(request.name)
        if _EVERYTHING not in (upgrade or ()):
            sources = conda_solve.channels(request.project, request.dependencies, settings)
            kept = lockfile.resolution_from(lock, request.name, sources)
    _must_be_locked(named, kept)
    resolution = resolve(
        request.project,
        request.dependencies,
        request.requirements,
        request.platform,
        settings,
        cache=network.cache_folder(),
        kept=kept,
        upgraded=named,
        step=say,
    )
    parts = (request.dependencies, request.platform, request.basis, resolution, lock)
    written = lockfile_write.write(request.project, *parts)
    changes = _changes(before, written.packages(request.name))
    count = len(resolution.records) + len(resolution.pins)
    _tell(form, written, changes, f"{written.shown}: {count} packages for {request.name}")


def _is_damaged(lock: Lock) -> bool:
    try:
        for name, _ in lock.bases:
            lock.packages(name)
    except ConfigurationError as error:
        say(f"{lock.shown} is replaced: {error.message}")
        return True
    return False


def _must_be_locked(named: set[str], kept: Resolution | None) -> None:
    locked = (
        {*(record.name.normalized for record in kept.records), *(pin.name for pin in kept.pins)}
        if kept
        else set()
    )
    for name in sorted(named):
        if name.lower().replace("_", "-") not in {package.replace("_", "-") for package in locked}:
            from amlexec.config.references import names_hint

            hint = names_hint(
                name, locked, "`amlexec lock -c NAME` locks the packages of the dependencies file"
            )
            raise UsageError(f"no package {name} is locked", hint=hint)


def _changes(before: tuple[Locked, ...], after: tuple[Locked, ...]) -> list[dict[str, Any]]:
    old = {(package.kind, package.name): package for package in before}
    new = {(package.kind, package.name): package for package in after}
    return [
        {"kind": key[0], "name": key[1], "before": _version(old.get(key)), "after": _version(new.get(key))}
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _version(package: Locked | None) -> str | None:
    return f"{package.version} {package.build}".strip() if package is not None else None


def _tell(form: str, lock: Lock, changes: list[dict[str, Any]], sentence: str) -> None:
    if form == "json":
        _json({"lock": lock.shown, "changes": changes})
        return
    for change in changes:
        before, after = change["before"], change["after"]
        mark, versions = (
            ("+", after)
            if before is None
            else ("-", before)
            if after is None
            else ("~", f"{before} -> {after}")
        )
        data(f"{mark} {change['name']} {versions}")
    data(sentence)


def _json(value: dict[str, Any]) -> None:
    import json

    data(json.dumps(value, indent=2))
