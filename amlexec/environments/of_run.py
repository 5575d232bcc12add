"""The packages of the environment that a run had."""

from __future__ import annotations

import json
import re

from amlexec.environments import last_prepared, lockfile, resolved_lock
from amlexec.errors import ConfigurationError
from amlexec.files import read_regular
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["Package", "packages_of", "prepared_packages"]

_LARGEST = 64 << 20
_PLATFORM = re.compile(r"^# amlexec (\S+) sha256:", re.MULTILINE)


class Package(NamedTuple):
    """A version of a package."""

    version: str
    build: str = ""
    """Of a conda package."""


def packages_of(project: Project, run: Run) -> dict[str, Package] | None:
    """The packages by name, sorted; those of pip as `pip.NAME`. None if they are not known.

    They are in the run's resolved lock, or else in what is known of its environment.
    """
    found = _locked(project, run) or _prepared(project, run)
    return None if found is None else dict(sorted(found.items()))


def _locked(project: Project, run: Run) -> dict[str, Package] | None:
    if run.environment_lock is None:
        return None
    text = resolved_lock.recall(project, run.environment_lock)
    if text is None:
        return None
    lock = lockfile.Lock("", f"the resolved lock of {run.run_id}", text, ())
    platform = _PLATFORM.search(text)
    try:
        packages = lock.packages(platform[1]) if platform else ()
    except ConfigurationError:  # of a later version
        return None
    return {_name(each.kind, each.name): Package(each.version, each.build) for each in packages}


def _prepared(project: Project, run: Run) -> dict[str, Package] | None:
    if run.environment_digest is None:
        return None
    return prepared_packages(project, run.environment_digest.removeprefix("sha256:"))


def prepared_packages(project: Project, name: str) -> dict[str, Package] | None:
    """The packages of the environment with that digest, if it was prepared here; None if not."""
    try:
        path = last_prepared.folder(project) / f"{name}.packages.json"
        stored = json.loads(read_regular(path, _LARGEST, follow=False))
        conda = {
            str(each["name"]): Package(str(each["version"]), str(each["build"])) for each in stored["conda"]
        }
        pip = {_name("pypi", str(each["name"])): Package(str(each["version"])) for each in stored["pip"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return conda | pip


def _name(kind: str, name: str) -> str:
    return f"pip.{name}" if kind == "pypi" else name
