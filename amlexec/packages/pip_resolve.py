"""The pip half of an environment: which files its pip section comes to, without installing anything.

uv resolves, for the target's Python and platform, against the declared indexes. What conda installs is
fixed: it is neither looked for on an index nor changed, and a pip section that needs another version of it
fails here, and not in the middle of an image build.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.packages.conda_solve import python_version
from amlexec.packages.network import uv_variables
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
"""Conda packages whose project has another name on PyPI; nothing in a channel says so."""


def resolve(
    root: str,
    found: Requirements,
    records: Sequence[RepoDataRecord],
    platform: Platform,
    network: Network,
    *,
    cache: Path,
    preferred: Sequence[Pin] = (),
) -> tuple[Pin, ...]:
    """The files that the pip section comes to beside the conda packages `records`, sorted by name.

    `root` is the project's folder. Versions of `preferred` are kept wherever they still fit.

    Raises:
        ConfigurationError: the section cannot be fulfilled; names the line.
        TargetError: an index cannot be reached.
    """
    if all(entry.is_constraint or entry.kind in {"option", "transport"} for entry in found.entries):
        return ()
    python = python_version(records)
    with tempfile.TemporaryDirectory(prefix="amlexec-") as folder:
        fixed = _fixed(records)
        pylock = _compile(Path(folder), found, fixed, python, platform, network, cache, preferred)
    pins = [pin_of(root, package, found, python, platform) for package in pylock["packages"]]
    return tuple(sorted(pins))


def _fixed(records: Sequence[RepoDataRecord]) -> dict[str, str]:
    """Name on PyPI and version of the Python packages that conda installs."""
    from packaging.version import InvalidVersion, Version

    found = {}
    for record in records:
        name = record.name.normalized
        depends = {one.split()[0] for one in record.depends}
        if name != "python" and (record.noarch.python or depends & {"python", "python_abi"}):
            try:
                found[_OTHER_NAMES.get(name, normalised(name))] = str(Version(str(record.version)))
            except InvalidVersion:
                continue  # then it is no version of a Python package either
    return found


def _compile(
    folder: Path,
    found: Requirements,
    fixed: dict[str, str],
    python: str,
    platform: Platform,
    network: Network,
    cache: Path,
    preferred: Sequence[Pin],
) -> dict[str, Any]:
    """Run uv; what it wrote, in the form of a pylock.toml (PEP 751)."""
    import subprocess

    from uv import find_uv_bin

    output = folder / "pylock.toml"
    if text := _preferences(preferred):
        output.write_text(text, "utf-8")
    for name, lines in (
        ("requirements.in", _lines(found, network, constraints=False)),
        ("constraints.in", [*_lines(found, network, constraints=True), *_stubs(folder, fixed)]),
    ):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)  # passwords stand in it
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    options = {entry.text for entry in found.entries if entry.kind == "option"}
    command = [
        *(find_uv_bin(), "pip", "compile", "requirements.in", "--constraints", "constraints.in"),
        *("--format", "pylock.toml", "--output-file", output.name, "--no-header", "--no-annotate"),
        *("--no-config", "--index-strategy", "unsafe-best-match", "--no-progress", "--color", "never"),
        *("--python-version", python, "--python-platform", platform.uv_platform),
        *(
            "--cache-dir",
            str(cache / "uv"),
            "--prerelease",
            "allow" if "--pre" in options else "if-necessary",
        ),
        *(word for name in fixed for word in ("--no-emit-package", name)),
        *(word for host in _trusted(found, network) for word in ("--allow-insecure-host", host)),
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=uv_variables(network),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        addresses = [*(entry.raw for entry in found.entries), *network.addresses]
        raise unresolved(hidden(done.stderr, addresses).replace(str(folder), "."), found.entries, fixed)
    return _parsed(output.read_text("utf-8"))


def _lines(found: Requirements, network: Network, *, constraints: bool) -> list[str]:
    if constraints:
        return [entry.raw for entry in found.entries if entry.is_constraint]
    lines, options = [], []
    for entry in found.entries:
        if entry.kind == "option" and entry.text.split()[0] in _FOR_UV:
            options.append(entry)
        elif not entry.is_constraint and entry.kind not in {"option", "transport"}:
            lines.append(str(entry.raw))
    return [*indexes(options, network), *lines]


def indexes(options: Iterable[RequirementEntry], network: Network) -> list[str]:
    """The option lines that say where to look: the user's settings, then the file's, as pip has it."""
    told = [entry for entry in options if entry.kind == "option"]
    last = [entry for entry in told if entry.text.startswith("--index-url")][-1:]
    lines = [str(last[0].raw)] if last else [f"--index-url {network.index_url}"] if network.index_url else []
    lines += [f"--extra-index-url {one}" for one in network.extra_index_urls]
    lines += [f"--find-links {one}" for one in network.find_links]
    lines += ["--no-index"] if network.no_index else []
    return lines + [str(entry.raw) for entry in told if not entry.text.startswith("--index-url")]


def _trusted(found: Requirements, network: Network) -> list[str]:
    told = [entry.raw.split()[1] for entry in found.entries if entry.text == "--trusted-host"]
    return [*network.trusted_hosts, *told]


def _stubs(folder: Path, fixed: dict[str, str]) -> list[str]:
    """Constraints to wheels that hold nothing but the name and version of what conda installs."""
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
    """Earlier pins in the form in which uv looks for what it had chosen before; "" where there are none."""
    lines = []
    for pin in (one for one in preferred if one.version and one.sha256):
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
    found: dict[str, Any] = tomllib.loads(text)
    return {"packages": [], **found}


def index_lines(found: Requirements, network: Network) -> tuple[Secret, ...]:
    """The option lines that say to pip where to look; they may hold passwords."""
    return tuple(Secret(line) for line in indexes(found.entries, network))
