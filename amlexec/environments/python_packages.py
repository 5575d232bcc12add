"""The packages of a Python that the user manages: which a run had, and which there are now.

A run lists them before its script's first line (`runtime/site/sitecustomize.py`). The list is kept as the
resolved locks are: by the hash of its text.
"""

from __future__ import annotations

import os
import re

from amlexec.environments import resolved_lock
from amlexec.files import read_regular
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from amlexec.values import Project

__all__ = ["FILE", "Packages", "changes", "keep", "listed", "of_interpreter", "parsed"]

FILE = "packages.txt"
"""In a run's folder, until its end is recorded."""
_LARGEST = 4 << 20
_ASK_TIMEOUT_S = 60
_PLACE = "# in "
_MOST = 5
_LINE = re.compile(r"# in /[^\0]*|[A-Za-z0-9][A-Za-z0-9._-]{0,200} [A-Za-z0-9.!+_-]{0,200}")
_ENDINGS = (".dist-info", ".egg-info")


class Packages(NamedTuple):
    """Installed packages."""

    places: tuple[str, ...]
    """The folders that were looked in."""
    versions: dict[str, str]
    """By their names, normalized."""


def parsed(text: str) -> Packages:
    """Parse a list. Raises ValueError: it comes from a target."""
    places: list[str] = []
    versions: dict[str, str] = {}
    for line in _checked(text):
        if line.startswith(_PLACE):
            places.append(line.removeprefix(_PLACE))
        else:
            name, _, version = line.partition(" ")
            versions.setdefault(_normalized(name), version)
    return Packages(tuple(places), versions)


def _checked(text: str) -> list[str]:
    lines = text.splitlines()
    for line in lines:
        if not _LINE.fullmatch(line):
            raise ValueError(f"{line[:80]!r} is no package")
    return lines


def keep(project: Project, folder: Path) -> str | None:
    """Move the list in a run's folder to the resolved locks; its name. None if there is none."""
    path = folder / FILE
    try:
        text = read_regular(path, _LARGEST, follow=False).decode()
        _checked(text)
    except (OSError, ValueError):
        return None
    name = resolved_lock.keep(project, text) if text else None
    path.unlink()
    return name


def listed(places: Iterable[str]) -> Packages:
    """The packages in these folders now. Folders that can't be read have none."""
    versions: dict[str, str] = {}
    looked = tuple(places)
    for place in looked:
        try:
            names = os.listdir(place)  # noqa: PTH208 - the same as in a run
        except OSError:
            continue
        for name in names:
            if name.endswith(_ENDINGS):
                package, _, rest = name.rpartition(".")[0].partition("-")
                versions.setdefault(_normalized(package), rest.partition("-")[0])
    return Packages(looked, versions)


def of_interpreter(path: str) -> Packages:
    """The packages of an interpreter on this machine; none if it does not answer."""
    import json
    import subprocess

    ask = "import json, sys; sys.stdout.write(json.dumps(sys.path[1:]))"
    try:
        done = subprocess.run([path, "-c", ask], capture_output=True, timeout=_ASK_TIMEOUT_S, check=True)
        return listed(str(place) for place in json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return Packages((), {})


def changes(before: Packages, now: Packages) -> str:
    """How the packages of `before` have changed, in a phrase; new ones don't count. "" if nothing has."""
    found = [
        f"{name} {version} -> {now.versions[name]}"
        if name in now.versions
        else f"{name} {version} was removed"
        for name, version in sorted(before.versions.items())
        if now.versions.get(name) != version
    ]
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return ", ".join(found[:_MOST]) + more


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
