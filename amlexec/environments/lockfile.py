"""Read the lock file beside a conda dependencies file, and check whether it is up to date.

The format is `pixi.lock`, written and read by rattler, so that other tools can read it too. Comments at its
top, which those tools ignore, hold the locked dependencies of each platform. By them amlexec checks quickly,
without a solve, whether the file is up to date.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from amlexec import digest
from amlexec.environments.explain import explain
from amlexec.environments.locked import Locked
from amlexec.errors import ConfigurationError
from amlexec.files import read_regular
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from rattler import LockFile, RepoDataRecord

    from amlexec.dependencies import CondaDependencies
    from amlexec.environments.explain import Key
    from amlexec.packages.conda_errors import ChannelSource
    from amlexec.packages.pip_pins import Pin
    from amlexec.packages.platforms import Platform
    from amlexec.packages.resolve import Resolution
    from amlexec.values import Place, Project

__all__ = [
    "ENVIRONMENT",
    "NO_VERSION",
    "Lock",
    "opened",
    "path_of",
    "pins_of",
    "read",
    "records_of",
    "resolution_from",
    "set_name",
]

_BASIS = re.compile(r"# amlexec (\S+) sha256:([0-9a-f]{64}) (\{.*\})")
_BODY = re.compile(r"# amlexec body of (\d+) lines sha256:([0-9a-f]{64})")
"""The digest of the text below the comments. Files of earlier versions don't have it."""
_FORMATS = frozenset([6, 7])
"""Supported versions of the pixi.lock format."""
ENVIRONMENT = "default"
"""The only environment of the file, in the format's sense."""
NO_VERSION = "0"
"""For sources whose version is only known after a build; the format requires a version."""
_LARGEST = 256 << 20
"""In bytes."""


class Lock(NamedTuple):
    """An existing lock file."""

    path: str
    """Absolute."""
    shown: str
    """Its name in messages: relative to the project's root."""
    text: str
    bases: tuple[tuple[str, bytes], ...]
    """For each set of packages, by `set_name`: the canonical value that was locked."""

    def damage(self) -> str:
        """How the file differs from what `amlexec lock` wrote, in a sentence; "" if it does not.

        Without a digest of its text, the check is only that the file can be parsed.
        """
        recorded = next((match for line in _head(self.text) if (match := _BODY.fullmatch(line))), None)
        body = _body(self.text)
        if recorded is None:
            try:
                for name, _ in self.bases:
                    if not self.packages(name):
                        return f"{self.shown} has no packages for {name}"
            except ConfigurationError as error:
                return f"{self.shown}: {error.message}"
            return ""
        if digest.of_bytes(body.encode()) == recorded[2]:
            return ""
        lines = len(body.splitlines())
        if lines < int(recorded[1]):
            return f"{self.shown} is truncated: it has {lines} of {recorded[1]} lines"
        return f"{self.shown} was changed after it was written"

    def reason(self, basis: bytes, name: str, places: Iterable[tuple[Key, Place]] = ()) -> str:
        """Why the file is out of date for `basis` (`amlexec.environments.spec.lock_basis`), or "".

        `name` is the `set_name` of the packages.
        """
        known = dict(self.bases)
        if not known:
            return f"{self.shown} does not say what it was made from"
        if name not in known:
            return f"{self.shown} has no packages for {name}, only for {', '.join(known)}"
        return explain(known[name], basis, places)

    def must_answer(self, basis: bytes, name: str, places: Iterable[tuple[Key, Place]] = ()) -> None:
        """Raise ConfigurationError if the file is out of date for `basis`, or truncated."""
        damage = self.damage()
        # Manual changes are only reported by `lock --check`: they may be intended.
        if " is truncated: " in damage:
            raise _damaged(self.shown, damage.replace(self.shown, "it", 1))
        if reason := self.reason(basis, name, places):
            raise ConfigurationError(
                f"the lock file is out of date: {reason}",
                where=self.shown,
                hint="`amlexec lock -c NAME` brings it up to date",
            )

    def packages(self, name: str) -> tuple[Locked, ...]:
        """The packages of a set, by its `set_name`. Needs no rattler.

        Raises:
            ConfigurationError: the file is damaged, or of another format.
        """
        tree = _tree(self)
        try:
            by_place = {
                (kind, package[kind]): package
                for package in tree["packages"]
                for kind in ("conda", "pypi")
                if kind in package
            }
            listed = tree["environments"][ENVIRONMENT]["packages"][name]
            return tuple(_locked(kind, place, by_place) for item in listed for kind, place in item.items())
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _damaged(self.shown, f"{type(error).__name__} {error}") from None


def _head(text: str) -> Iterator[str]:
    """The comments at the top."""
    for line in text.split("\n"):
        if not line.startswith("#"):
            return
        yield line


def _body(text: str) -> str:
    return "\n".join(text.split("\n")[len(list(_head(text))) :])


def set_name(platform: Platform, dependencies: CondaDependencies) -> str:
    """The name of the packages for these dependencies in a lock file, which has it as a platform.

    Run configurations that share a file have other packages where Spark and Java are added to it.
    """
    return f"{platform.name}-spark" if dependencies.with_spark else platform.name


def path_of(dependencies_file: str) -> str:
    """The lock file beside a dependencies file: `conda_dependencies.lock` beside `conda_dependencies.yml`."""
    return f"{os.path.splitext(dependencies_file)[0]}.lock"  # noqa: PTH122


def read(project: Project, dependencies_file: str) -> Lock | None:
    """The lock file beside a dependencies file (relative to the project's root), or None.

    Raises:
        ConfigurationError: the file can't be read.
    """
    shown = path_of(dependencies_file)
    path = os.path.join(project.root, shown)  # noqa: PTH118
    try:
        text = read_regular(path, _LARGEST).decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _damaged(shown, why[:1].lower() + why[1:]) from None
    bases = []
    for line in _head(text):
        match = _BASIS.fullmatch(line)
        if match is not None and digest.of_bytes(match[3].encode()) == match[2]:
            bases.append((match[1], match[3].encode()))
    return Lock(path, shown, text, tuple(bases))


def _tree(lock: Lock) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree = yaml.load(lock.text, loader)  # noqa: S506 - both loaders are safe
    except yaml.YAMLError as error:
        raise _damaged(lock.shown, str(error).splitlines()[0]) from None
    if not isinstance(tree, dict) or tree.get("version") not in _FORMATS:
        version = tree.get("version") if isinstance(tree, dict) else None
        raise _damaged(lock.shown, f"it is of format {version}" if version else "it is not a lock file")
    return tree


def _damaged(shown: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the lock file cannot be read: {why}",
        where=shown,
        hint="`amlexec lock -c NAME --upgrade` writes it again; solve a merge conflict the same way",
    )


def _locked(kind: str, place: str, by_place: Mapping[tuple[str, str], dict[str, Any]]) -> Locked:
    package = by_place[kind, place]
    if kind == "pypi":
        name, version, build = str(package["name"]), str(package.get("version", "")), ""
    else:
        file = place.rpartition("/")[2].removesuffix(".conda").removesuffix(".tar.bz2")
        name, version, build = file.rsplit("-", 2)
    if version == NO_VERSION and kind == "pypi" and not package.get("sha256"):
        version = ""
    sha256 = str(package.get("sha256") or (f"md5:{package['md5']}" if "md5" in package else ""))
    return Locked(kind, name, version, build, public(place), sha256)


def resolution_from(lock: Lock, name: str, sources: Sequence[ChannelSource] = ()) -> Resolution:
    """The packages of a set in a lock file, ready to be installed.

    `sources` are the channels (`amlexec.packages.conda_solve.channels`); their passwords are not in the file.

    Raises:
        ConfigurationError: the file is damaged, or has no such set.
    """
    from amlexec.packages import conda_solve
    from amlexec.packages.resolve import Resolution

    file = opened(lock)
    records = sorted(records_of(file, name), key=lambda record: record.name.normalized)
    environment = file.default_environment()
    channels = tuple(str(channel) for channel in environment.channels()) if environment is not None else ()
    return Resolution(tuple(conda_solve.with_passwords(records, sources)), pins_of(lock, name), channels)


def pins_of(lock: Lock, name: str) -> tuple[Pin, ...]:
    """pip's packages of a set, sorted. Raises ConfigurationError if the file is damaged."""
    from amlexec.packages.pip_pins import Pin

    packages = (package for package in lock.packages(name) if package.kind == "pypi")
    return tuple(sorted(Pin(each.name, each.version, each.address, each.sha256) for each in packages))


def opened(lock: Lock) -> LockFile:
    """The file as rattler reads it. Raises ConfigurationError if it is damaged."""
    import rattler
    from rattler import exceptions

    try:
        return rattler.LockFile.from_path(Path(lock.path))
    except (exceptions.ParseCondaLockError, exceptions.IoError) as error:
        raise _damaged(lock.shown, str(error).splitlines()[0]) from None


def records_of(file: LockFile, name: str) -> list[RepoDataRecord]:
    """The conda packages of a set; none if the file has no such set."""
    environment = file.default_environment()
    platform = next((each for each in file.platforms() if each.name == name), None)
    if environment is None or platform is None:
        return []
    return environment.conda_repodata_records_for_platform(platform) or []
