"""The files of a resolved pip section: choose the file of each package, and write pip's arguments."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import digest
from amlexec.errors import TargetError
from amlexec.packages.urls import Secret, is_address, public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.packages.platforms import Platform
    from amlexec.packages.requirements import Requirements

__all__ = ["Pin", "PipLine", "location", "pin_of", "pip_lines"]

# ruff: noqa: PTH118 - pathlib costs a run 3 ms


class Pin(NamedTuple):
    """One package of a resolved pip section."""

    name: str
    version: str
    """"" for sources whose version is only known after a build."""
    location: str
    """Address or path of the file, without secrets; inside the project relative to its root: `./x.whl`."""
    sha256: str
    """"" for sources in a folder or a repository."""

    @property
    def is_local(self) -> bool:
        """Whether the file is on this machine."""
        return not is_address(self.location) or self.location.startswith("file:")


class PipLine(NamedTuple):
    """A line for `pip install --no-deps`, and the file that it needs."""

    text: Secret
    """In the line for a local file, `{}` stands for its path."""
    path: str = ""
    """The file or folder on this machine, absolute; "" if pip fetches it."""


def pin_of(
    root: str, package: dict[str, Any], requirements: Requirements, python: str, platform: Platform
) -> Pin:
    """The file to install for a package of a pylock.toml, with that Python and platform.

    Raises:
        TargetError: no file fits.
    """
    name, version = package["name"], package.get("version", "")
    if "directory" in package:
        return Pin(name, version, location(root, package["directory"]["path"]), "")
    if "vcs" in package:
        vcs = package["vcs"]
        folder = f"#subdirectory={vcs['subdirectory']}" if vcs.get("subdirectory") else ""
        return Pin(name, version, f"{vcs['type']}+{public(vcs['url'])}@{vcs['commit-id']}{folder}", "")
    if "archive" in package:
        return _file(root, name, version, package["archive"])
    hashes = {
        value
        for entry in requirements.entries
        if entry.name == name
        for value in re.findall(r"--hash=sha256:([0-9a-f]{64})", entry.text)
    }
    wheels = package.get("wheels", ())
    files = [wheel for wheel in wheels if not hashes or wheel["hashes"].get("sha256") in hashes]
    best = _best(files, python, platform) or package.get("sdist")
    if best is None:
        raise TargetError(
            f"{name} {version} has no file for Python {python} on {platform.subdir}",
            hint="use another version of it, or the conda package",
        )
    return _file(root, name, version, best)


def _file(root: str, name: str, version: str, entry: dict[str, Any]) -> Pin:
    place = entry.get("path") or entry["url"]
    sha256 = entry.get("hashes", {}).get("sha256", "")
    found = location(root, place)
    if not sha256 and not is_address(found):
        sha256 = digest.of_file(os.path.join(root, found))
    return Pin(name, version, found, sha256)


def location(root: str, place: str) -> str:
    """The `location` of a pin for an address or a path on this machine."""
    if is_address(place) and not place.startswith("file:"):
        return public(place).partition("#")[0]
    if place.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        place = unquote(urlsplit(place).path)
    path = os.path.normpath(place)
    return f"./{os.path.relpath(path, root)}" if path.startswith(f"{root.rstrip('/')}/") else path


def _best(files: list[dict[str, Any]], python: str, platform: Platform) -> dict[str, Any] | None:
    """The wheel that pip would choose on that platform."""
    from packaging import tags
    from packaging.utils import parse_wheel_filename

    version = tuple(int(part) for part in python.split(".")[:2])
    interpreter = f"cp{version[0]}{version[1]}"
    abi = interpreter + ("m" if version < (3, 8) else "")
    platforms = platform.wheel_platforms
    order: dict[tags.Tag, int] = {}
    for tag in (
        *tags.cpython_tags(version, abis=[abi], platforms=platforms),
        *tags.compatible_tags(version, interpreter, platforms),
    ):
        order.setdefault(tag, len(order))
    ranked = []
    for file in files:
        name = (file.get("path") or file["url"]).partition("#")[0].rpartition("/")[2]
        _, _, build, offered = parse_wheel_filename(name)
        fits = [order[tag] for tag in offered if tag in order]
        if fits:
            ranked.append((-min(fits), build, file))
    return max(ranked, key=lambda rank: rank[:2])[2] if ranked else None


def pip_lines(root: str, pins: Sequence[Pin], requirements: Requirements) -> tuple[PipLine, ...]:
    """The lines for `pip install --no-deps` that install exactly `pins`, in their order.

    Folders with `-e` in `requirements` stay editable, and addresses get their passwords from its lines.
    `index_lines` gives the indexes.
    """
    addresses = _addresses(requirements)
    raws = {public(address).partition("#")[0]: address for address in addresses}
    editable = {entry.path for entry in requirements.entries if entry.kind == "editable"}
    lines = []
    for pin in pins:
        checked = f" --hash=sha256:{pin.sha256}" if pin.sha256 else ""
        if pin.is_local:
            path = os.path.normpath(os.path.join(root, pin.location))
            flag = "-e " if path in editable and not checked else ""
            lines.append(PipLine(Secret(f"{flag}{{}}{checked}"), path))
        elif raw := raws.get(pin.location):
            lines.append(PipLine(Secret(f"{pin.name} @ {_file_in(raw)}{checked}")))
        elif not pin.sha256:
            lines.append(PipLine(Secret(f"{pin.name} @ {_with_login(pin.location, addresses)}")))
        else:
            lines.append(PipLine(Secret(f"{pin.name}=={pin.version}{checked}")))
    return tuple(lines)


def _addresses(requirements: Requirements) -> list[str]:
    texts = (entry.raw for entry in requirements.entries if entry.kind == "address")
    return [match[0] for text in texts if (match := re.search(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", text))]


def _file_in(address: str) -> str:
    """An address, of whose part after `#` only the subdirectory is kept."""
    bare, _, fragment = address.partition("#")
    folder = [part for part in fragment.split("&") if part.startswith("subdirectory=")]
    return f"{bare}#{folder[0]}" if folder else bare


def _with_login(location: str, addresses: Sequence[str]) -> str:
    """The address of a commit, with the login of the line that names its repository."""
    for address in addresses:
        bare = _repository(address)
        if location.startswith(f"{public(bare)}@"):
            return bare + location[len(public(bare)) :]
    return location


def _repository(address: str) -> str:
    """The address of a repository without `@REVISION` at the end of its path, and without `#...`."""
    bare = address.partition("#")[0]
    scheme, _, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{slash}{path.rpartition('@')[0] or path}"
