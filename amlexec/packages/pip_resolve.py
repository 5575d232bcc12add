"""Resolve the pip part of an environment to files, without installing anything.

uv resolves, for the target's Python and platform, against the declared indexes. Packages that conda installs
are fixed: uv neither searches an index for them nor changes them. A pip section that needs another version
fails here, not in the middle of an image build.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.packages import uv
from amlexec.packages.conda_solve import python_version
from amlexec.packages.pip_errors import unresolved
from amlexec.packages.pip_pins import Pin, pin_of
from amlexec.packages.requirement_syntax import normalised
from amlexec.packages.urls import Secret, hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rattler import RepoDataRecord

    from amlexec.packages.network import Network
    from amlexec.packages.platforms import Platform
    from amlexec.packages.requirements import RequirementEntry, Requirements

__all__ = ["index_lines", "resolve"]

_FOR_UV = frozenset(
    ["--index-url", "--extra-index-url", "--find-links", "--no-index", "--no-binary", "--only-binary"]
)
_OTHER_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "opencv": "opencv-python",
    "py-opencv": "opencv-python",
    "matplotlib-base": "matplotlib",
    "pytables": "tables",
    "pyqt": "pyqt5",
    "py-xgboost": "xgboost",
    "tensorflow-base": "tensorflow",
    "ruamel_yaml": "ruamel-yaml",
}
"""Conda packages whose project has another name on PyPI; channels don't have this information."""


def resolve(
    root: str,
    requirements: Requirements,
    records: Sequence[RepoDataRecord],
    platform: Platform,
    network: Network,
    *,
    cache: Path,
    preferred: Sequence[Pin] = (),
) -> tuple[Pin, ...]:
    """Resolve the pip section beside the conda packages `records`; returns its files, sorted by name.

    `root` is the project's folder. Versions of `preferred` are kept if they still fit.

    Raises:
        ConfigurationError: the section is unsolvable; names the line.
        TargetError: an index cannot be reached.
    """
    if all(entry.is_constraint or entry.kind in {"option", "transport"} for entry in requirements.entries):
        return ()
    python = python_version(records)
    with tempfile.TemporaryDirectory(prefix="amlexec-") as folder:
        fixed = _fixed(records)
        pylock = _compile(Path(folder), requirements, fixed, python, platform, network, cache, preferred)
    pins = [pin_of(root, package, requirements, python, platform) for package in pylock["packages"]]
    return tuple(sorted(pins))


def _fixed(records: Sequence[RepoDataRecord]) -> dict[str, str]:
    """The Python packages that conda installs: name on PyPI -> version."""
    from packaging.version import InvalidVersion, Version

    versions = {}
    for record in records:
        name = record.name.normalized
        depends = {spec.split()[0] for spec in record.depends}
        if name != "python" and (record.noarch.python or depends & {"python", "python_abi"}):
            try:
                versions[_OTHER_NAMES.get(name, normalised(name))] = str(Version(str(record.version)))
            except InvalidVersion:
                continue  # not a Python package
    return versions


def _compile(
    folder: Path,
    requirements: Requirements,
    fixed: dict[str, str],
    python: str,
    platform: Platform,
    network: Network,
    cache: Path,
    preferred: Sequence[Pin],
) -> dict[str, Any]:
    """Run uv; returns the content of its pylock.toml (PEP 751)."""
    output = folder / "pylock.toml"
    if text := _preferences(preferred):
        output.write_text(text, "utf-8")
    for name, lines in (
        ("requirements.in", _lines(requirements, network, constraints=False)),
        ("constraints.in", [*_lines(requirements, network, constraints=True), *_stubs(folder, fixed)]),
    ):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)  # it may hold passwords
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    options = {entry.text for entry in requirements.entries if entry.kind == "option"}
    command = [
        *("pip", "compile", "requirements.in", "--constraints", "constraints.in"),
        *("--format", "pylock.toml", "--output-file", output.name, "--no-header", "--no-annotate"),
        *("--python-version", python, "--python-platform", platform.uv_platform),
        *("--prerelease", "allow" if "--pre" in options else "if-necessary"),
        *(word for name in fixed for word in ("--no-emit-package", name)),
        *(word for host in _trusted(requirements, network) for word in ("--allow-insecure-host", host)),
    ]
    done = uv.run(command, folder, network, cache)
    if done.returncode != 0:
        addresses = [*(entry.raw for entry in requirements.entries), *network.addresses]
        raise unresolved(
            hidden(done.stderr, addresses).replace(str(folder), "."), requirements.entries, fixed
        )
    return _parsed(output.read_text("utf-8"))


def _lines(requirements: Requirements, network: Network, *, constraints: bool) -> list[str]:
    if constraints:
        return [entry.raw for entry in requirements.entries if entry.is_constraint]
    lines, options = [], []
    for entry in requirements.entries:
        if entry.kind == "option" and entry.text.split()[0] in _FOR_UV:
            options.append(entry)
        elif not entry.is_constraint and entry.kind not in {"option", "transport"}:
            lines.append(str(entry.raw))
    return [*indexes(options, network), *lines]


def indexes(options: Iterable[RequirementEntry], network: Network) -> list[str]:
    """The option lines for indexes: of the user's settings, then of the file, as in pip."""
    own = [entry for entry in options if entry.kind == "option"]
    last = [entry for entry in own if entry.text.startswith("--index-url")][-1:]
    lines = [str(last[0].raw)] if last else [f"--index-url {network.index_url}"] if network.index_url else []
    lines += [f"--extra-index-url {address}" for address in network.extra_index_urls]
    lines += [f"--find-links {address}" for address in network.find_links]
    lines += ["--no-index"] if network.no_index else []
    return lines + [str(entry.raw) for entry in own if not entry.text.startswith("--index-url")]


def _trusted(requirements: Requirements, network: Network) -> list[str]:
    hosts = [entry.raw.split()[1] for entry in requirements.entries if entry.text == "--trusted-host"]
    return [*network.trusted_hosts, *hosts]


def _stubs(folder: Path, fixed: dict[str, str]) -> list[str]:
    """Constraints to empty wheels with the names and versions of the packages that conda installs."""
    import zipfile

    lines = []
    for name, version in fixed.items():
        stem = f"{name.replace('-', '_')}-{version}"
        path = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            info = f"{stem}.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(
                f"{info}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: amlexec\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            archive.writestr(f"{info}/RECORD", "")
        lines.append(f"{name} @ {path.as_uri()}")
    return lines


def _preferences(preferred: Sequence[Pin]) -> str:
    """Earlier pins in the form of uv's own earlier output, which uv prefers; "" if there are none."""
    lines = []
    for pin in (each for each in preferred if each.version and each.sha256):
        name = pin.location.rpartition("/")[2]
        file = f'{{ url = "file:///{name}", hashes = {{ sha256 = "{pin.sha256}" }} }}'
        lines += ["[[packages]]", f'name = "{pin.name}"', f'version = "{pin.version}"']
        lines += [f"wheels = [{file}]" if name.endswith(".whl") else f"sdist = {file}"]
    return "\n".join(['lock-version = "1.0"', 'created-by = "uv"', *lines, ""]) if lines else ""


def _parsed(text: str) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    pylock: dict[str, Any] = tomllib.loads(text)
    return {"packages": [], **pylock}


def index_lines(requirements: Requirements, network: Network) -> tuple[Secret, ...]:
    """pip's option lines for indexes; they may hold passwords."""
    return tuple(Secret(line) for line in indexes(requirements.entries, network))
