"""`amlexec lock`: write down which packages the dependencies come to, or say whether that is still so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import kinds
from amlexec.commands.options import add_project, add_run_configuration
from amlexec.config import load as config
from amlexec.console import data, say
from amlexec.environments import lockfile, spec
from amlexec.errors import ConfigurationError, UsageError
from amlexec.packages import platforms

if TYPE_CHECKING:
    import argparse

    from amlexec.environments.locked import Locked
    from amlexec.environments.lockfile import Lock
    from amlexec.model import CondaDependencies, Project
    from amlexec.packages.platforms import Platform
    from amlexec.packages.requirements import Requirements
    from amlexec.packages.resolve import Resolution

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


class _Asked(NamedTuple):
    """What is to be locked."""

    project: Project
    file: str
    dependencies: CondaDependencies
    found: Requirements
    platform: Platform
    wanted: spec.EnvironmentSpec
    basis: bytes


def run(arguments: argparse.Namespace) -> int:
    """Lock, or check; the exit code."""
    project = config.find_project(Path(arguments.project or os.getcwd()))  # noqa: PTH109 - one import less
    asked = _asked(project, arguments.run_configuration, arguments.target or "")
    lock = lockfile.read(project, asked.file)
    if arguments.check:
        return _check(asked, lock, arguments.output)
    if arguments.upgrade is None and lock is not None and not _reason(asked, lock):
        _tell(arguments.output, lock, [], f"{lock.shown} is up to date")
        return 0
    _lock(asked, lock, arguments.upgrade, arguments.output)
    return 0


def _asked(project: Project, name: str, target: str) -> _Asked:
    declaration = config.load(project, name, target)
    file = declaration.run_configuration.conda_dependencies_file
    place = declaration.compute_target
    dependencies = config.load_conda(project, file)
    shared = place.shared_folder(project) if kinds.of(place.kind).on_local_engine else ""
    found = spec.requirements_of(project, dependencies, shared=shared)
    platform = platforms.of_target(place)
    wanted = spec.spec_of(project, place.base_docker_image, dependencies, platform, pip=found)
    return _Asked(project, file, dependencies, found, platform, wanted, spec.lock_basis(wanted, found))


def _reason(asked: _Asked, lock: Lock | None) -> str:
    if lock is None:
        return f"there is no {lockfile.path_of(asked.file)}"
    return lock.reason(asked.basis, asked.platform, asked.wanted.places) or lock.damage()


def _check(asked: _Asked, lock: Lock | None, form: str) -> int:
    reason = _reason(asked, lock)
    if form == "json":
        _json({"lock": lockfile.path_of(asked.file), "up_to_date": not reason, "reason": reason})
    elif reason:
        data(f"out of date: {reason}")
    else:
        data(f"{lockfile.path_of(asked.file)} is up to date")
    return 1 if reason else 0


def _lock(asked: _Asked, lock: Lock | None, upgrade: list[str] | None, form: str) -> None:
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
    if lock is not None and asked.platform.name in dict(lock.bases):
        before = lock.packages(asked.platform.name)
        if _EVERYTHING not in (upgrade or ()):
            sources = conda_solve.channels(asked.project, asked.dependencies, settings)
            kept = lockfile.resolution_from(lock, asked.platform, sources)
    _must_be_locked(named, kept)
    resolution = resolve(
        asked.project,
        asked.dependencies,
        asked.found,
        asked.platform,
        settings,
        cache=network.cache_folder(),
        kept=kept,
        upgraded=named,
        step=say,
    )
    written = lockfile.write(asked.project, asked.file, asked.platform, asked.basis, resolution, lock)
    changes = _changes(before, written.packages(asked.platform.name))
    count = len(resolution.records) + len(resolution.pins)
    _tell(form, written, changes, f"{written.shown}: {count} packages for {asked.platform.name}")


def _is_damaged(lock: Lock) -> bool:
    try:
        for name, _ in lock.bases:
            lock.packages(name)
    except ConfigurationError as error:
        say(f"{lock.shown} is written anew: {error.message}")
        return True
    return False


def _must_be_locked(named: set[str], kept: Resolution | None) -> None:
    known = (
        {*(one.name.normalized for one in kept.records), *(one.name for one in kept.pins)} if kept else set()
    )
    for name in sorted(named):
        if name.lower().replace("_", "-") not in {one.replace("_", "-") for one in known}:
            from amlexec.config.references import names_hint

            hint = names_hint(name, known, "`amlexec lock -c NAME` locks what the dependencies file names")
            raise UsageError(f"no package {name} is locked", hint=hint)


def _changes(before: tuple[Locked, ...], after: tuple[Locked, ...]) -> list[dict[str, Any]]:
    old = {(one.kind, one.name): one for one in before}
    new = {(one.kind, one.name): one for one in after}
    return [
        {"kind": key[0], "name": key[1], "before": _version(old.get(key)), "after": _version(new.get(key))}
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _version(one: Locked | None) -> str | None:
    return f"{one.version} {one.build}".strip() if one is not None else None


def _tell(form: str, lock: Lock, changes: list[dict[str, Any]], sentence: str) -> None:
    if form == "json":
        _json({"lock": lock.shown, "changes": changes})
        return
    for one in changes:
        before, after = one["before"], one["after"]
        mark, versions = (
            ("+", after)
            if before is None
            else ("-", before)
            if after is None
            else ("~", f"{before} -> {after}")
        )
        data(f"{mark} {one['name']} {versions}")
    data(sentence)


def _json(value: dict[str, Any]) -> None:
    import json

    data(json.dumps(value, indent=2))
