"""The lock file beside a conda dependencies file: its exact packages.

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
from amlexec.errors import ConfigurationError, TargetError
from amlexec.files import read_regular, write_atomically
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from rattler import LockFile, RepoDataRecord

    from amlexec.environments.explain import Key
    from amlexec.packages.conda_errors import ChannelSource
    from amlexec.packages.pip_pins import Pin
    from amlexec.packages.platforms import Platform
    from amlexec.packages.resolve import Resolution
    from amlexec.values import CondaDependencies, Place, Project

__all__ = ["Lock", "path_of", "read", "resolution_from", "set_name", "text_of", "write"]

_HEADER = """\
# What {name} comes to, written by `amlexec lock`: change that file, then lock again.
# pixi and rattler read this file too. The next lines say what was locked, for `amlexec lock --check`.
"""
_BASIS = re.compile(r"# amlexec (\S+) sha256:([0-9a-f]{64}) (\{.*\})")
_BODY = re.compile(r"# amlexec body of (\d+) lines sha256:([0-9a-f]{64})")
"""The digest of the text below the comments. Files of earlier versions don't have it."""
_FORMATS = frozenset([6, 7])
"""Supported versions of the pixi.lock format."""
_ENVIRONMENT = "default"
_NO_VERSION = "0"
"""For sources whose version is only known after a build; the format requires a version."""


_LARGEST = 256 << 20


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
            listed = tree["environments"][_ENVIRONMENT]["packages"][name]
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
    if version == _NO_VERSION and kind == "pypi" and not package.get("sha256"):
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

    file = _opened(lock)
    records = sorted(_records(file, name), key=lambda record: record.name.normalized)
    environment = file.default_environment()
    channels = tuple(str(channel) for channel in environment.channels()) if environment is not None else ()
    return Resolution(tuple(conda_solve.with_passwords(records, sources)), _pins(lock, name), channels)


def _pins(lock: Lock, name: str) -> tuple[Pin, ...]:
    from amlexec.packages.pip_pins import Pin

    packages = (package for package in lock.packages(name) if package.kind == "pypi")
    return tuple(sorted(Pin(each.name, each.version, each.address, each.sha256) for each in packages))


def _opened(lock: Lock) -> LockFile:
    import rattler
    from rattler import exceptions

    try:
        return rattler.LockFile.from_path(Path(lock.path))
    except (exceptions.ParseCondaLockError, exceptions.IoError) as error:
        raise _damaged(lock.shown, str(error).splitlines()[0]) from None


def _records(file: LockFile, name: str) -> list[RepoDataRecord]:
    environment = file.default_environment()
    platform = next((each for each in file.platforms() if each.name == name), None)
    if environment is None or platform is None:
        return []
    return environment.conda_repodata_records_for_platform(platform) or []


def write(
    project: Project,
    dependencies: CondaDependencies,
    platform: Platform,
    basis: bytes,
    resolution: Resolution,
    old: Lock | None = None,
) -> Lock:
    """Write the lock file for one set of packages, atomically; keeps the other sets of `old`.

    Raises:
        TargetError: the file can't be written.
    """
    shown = path_of(dependencies.place.path)
    text = text_of(dependencies, platform, basis, resolution, old)
    try:
        # For everybody whom the umask lets read the project's other files.
        write_atomically(Path(project.root, shown), text, mode=0o666)
    except OSError as error:
        raise TargetError(f"cannot write {shown}: {error.strerror}") from error
    written = read(project, dependencies.place.path)
    assert written is not None, "it was just written"
    return written


def text_of(
    dependencies: CondaDependencies,
    platform: Platform,
    basis: bytes,
    resolution: Resolution,
    old: Lock | None = None,
) -> str:
    """The text of a lock file: these packages, and the other sets of `old`. No secrets."""
    import rattler

    name = set_name(platform, dependencies)
    others = [base for base in old.bases if base[0] != name] if old is not None else []
    opened = _opened(old) if old is not None and others else None
    virtual = [f"{package}={version}={build}" for package, version, build in platform.virtual_packages]
    targets = [rattler.LockPlatform(name, rattler.Subdir(platform.subdir), virtual)]
    if opened is not None:
        targets += [each for each in opened.platforms() if each.name in dict(others)]
    file = rattler.LockFile(targets)
    file.set_channels(_ENVIRONMENT, [rattler.LockChannel(address) for address in resolution.channels])
    hashes = _add(file, targets[0], resolution.records, resolution.pins)
    for target in targets[1:]:
        assert opened is not None
        assert old is not None
        hashes |= _add(file, target, _records(opened, target.name), _pins(old, target.name))
    bases = sorted([*others, (name, basis)])
    header = _HEADER.format(name=dependencies.place.path.rpartition("/")[2])
    header += "".join(
        f"# amlexec {each} sha256:{digest.of_bytes(value)} {value.decode()}\n" for each, value in bases
    )
    body = _with_hashes(_rendered(file), hashes)
    lines = len(body.splitlines())
    return f"{header}# amlexec body of {lines} lines sha256:{digest.of_bytes(body.encode())}\n{body}"


def _channel(record: RepoDataRecord) -> str:
    return record.url.rsplit("/", 2)[0] + "/"


def _add(
    file: LockFile, target: Any, records: Iterable[RepoDataRecord], pins: Iterable[Pin]
) -> dict[str, str]:
    import rattler

    for record in records:
        bare = rattler.RepoDataRecord(record, record.file_name, public(record.url), public(_channel(record)))
        file.add_conda_package(_ENVIRONMENT, target, bare)
    hashes = {}
    for pin in pins:
        file.add_pypi_package(_ENVIRONMENT, target, pin.name, pin.version or _NO_VERSION, pin.location)
        hashes[pin.location] = pin.sha256
    return hashes


def _rendered(file: LockFile) -> str:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="amlexec-") as folder:
        path = Path(folder, "lock")
        file.to_path(path)
        return path.read_text("utf-8")


def _with_hashes(text: str, hashes: Mapping[str, str]) -> str:
    """rattler's text with the hashes of pip's files; rattler's Python interface does not accept them."""
    import yaml

    lines, current = [], ""
    for line in text.splitlines():
        lines.append(line)
        if line.startswith("- "):
            current = str(yaml.safe_load(line[2:]).get("pypi", ""))
        elif line.startswith("  version:") and hashes.get(current):
            lines.append(f"  sha256: '{hashes[current]}'")
    return "\n".join(lines) + "\n"
