"""Write the lock file beside a conda dependencies file. No secrets are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import digest
from amlexec.environments import lockfile
from amlexec.environments.lockfile import ENVIRONMENT, NO_VERSION
from amlexec.errors import TargetError
from amlexec.files import write_atomically
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from rattler import LockFile, RepoDataRecord

    from amlexec.dependencies import CondaDependencies
    from amlexec.environments.lockfile import Lock
    from amlexec.packages.pip_pins import Pin
    from amlexec.packages.platforms import Platform
    from amlexec.packages.resolve import Resolution
    from amlexec.values import Project

__all__ = ["text_of", "write"]

_HEADER = """\
# What {name} comes to, written by `amlexec lock`: change that file, then lock again.
# pixi and rattler read this file too. The next lines say what was locked, for `amlexec lock --check`.
"""


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
    shown = lockfile.path_of(dependencies.place.path)
    text = text_of(dependencies, platform, basis, resolution, old)
    try:
        # For everybody whom the umask lets read the project's other files.
        write_atomically(Path(project.root, shown), text, mode=0o666)
    except OSError as error:
        raise TargetError(f"cannot write {shown}: {error.strerror}") from error
    written = lockfile.read(project, dependencies.place.path)
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

    name = lockfile.set_name(platform, dependencies)
    others = [base for base in old.bases if base[0] != name] if old is not None else []
    opened = lockfile.opened(old) if old is not None and others else None
    virtual = [f"{package}={version}={build}" for package, version, build in platform.virtual_packages]
    targets = [rattler.LockPlatform(name, rattler.Subdir(platform.subdir), virtual)]
    if opened is not None:
        targets += [each for each in opened.platforms() if each.name in dict(others)]
    file = rattler.LockFile(targets)
    file.set_channels(ENVIRONMENT, [rattler.LockChannel(address) for address in resolution.channels])
    hashes = _add(file, targets[0], resolution.records, resolution.pins)
    for target in targets[1:]:
        assert opened is not None
        assert old is not None
        hashes |= _add(
            file, target, lockfile.records_of(opened, target.name), lockfile.pins_of(old, target.name)
        )
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
        file.add_conda_package(ENVIRONMENT, target, bare)
    hashes = {}
    for pin in pins:
        file.add_pypi_package(ENVIRONMENT, target, pin.name, pin.version or NO_VERSION, pin.location)
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
