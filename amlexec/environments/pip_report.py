"""What pip has installed, by file and content, from pip's own report of an installation.

pip chooses the files of a pip section that has no lock file. Its report names them, so that the resolved lock
of the environment can. A pip without such reports leaves the environment without a resolved lock.
"""

from __future__ import annotations

import json
import re

from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.pip_pins import Pin, location
from amlexec.packages.requirement_syntax import normalised
from amlexec.packages.urls import public

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from amlexec.environments.build_context import BuildContext
    from amlexec.packages.resolve import Resolution

__all__ = ["LIST", "is_wanted", "listed", "options", "pins_of"]

LIST = """
import importlib.metadata, json, os, shutil, sys
report, root, *paths = sys.argv[1:]
installed = []
if report and os.path.isfile(report):
    with open(report, encoding="utf-8") as file:
        for each in json.load(file)["install"]:
            about = each["metadata"]
            installed.append([about["name"], about["version"], each["download_info"]])
for path in paths + [report] * bool(report):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)
    at = os.path.dirname(path)
    while at.startswith(root) and not (os.path.isdir(at) and os.listdir(at)):
        if os.path.isdir(at):
            os.rmdir(at)
        at = os.path.dirname(at)
found = sorted({(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()})
sys.stdout.write(json.dumps({"found": found, "installed": installed}))
"""
"""Removes the files that only pip needed, and lists the installed Python packages and the files that pip has
chosen. Arguments: pip's report, or ""; the folder of sources; and the paths to remove."""
_FIRST = (22, 2)
"""The first pip with `--report`."""
_NUMBER = re.compile(r"(\d+)\.(\d+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_wanted(context: BuildContext) -> bool:
    """Whether pip chooses files itself, and reports them: there is no lock file, and pip is not too old."""
    return context.request.lock is None and _can_report(context.resolution)


def _can_report(resolution: Resolution) -> bool:
    for name, version, *_ in resolution.conda:
        if name == "pip" and (match := _NUMBER.match(version)):
            return (int(match[1]), int(match[2])) >= _FIRST
    return False


def options(context: BuildContext, report: str) -> list[str]:
    """pip's options that make it write its report to that path."""
    return ["--report", report] if is_wanted(context) else []


def listed(output: str) -> tuple[list[tuple[str, str]], list[Any]]:
    """What LIST has printed: name and version of every package, and the entries for `pins_of`.

    Raises:
        ValueError: it is something else.
    """
    answer = json.loads(output)
    try:
        return [(str(name), str(version)) for name, version in answer["found"]], list(answer["installed"])
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None


def pins_of(
    context: BuildContext, installed: Iterable[Any], moved: Sequence[tuple[str, str]]
) -> tuple[Pin, ...] | None:
    """The files that the pip section has come to; None if they are not known.

    `moved` are files and folders of this machine with their paths where pip ran.
    """
    if context.request.lock is not None:
        return context.resolution.pins
    if not _can_report(context.resolution):
        return None
    try:
        pins = [_pin(context.request.project.root, *entry, moved=moved) for entry in installed]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        context.log.line(f"pip's report can't be read, so there is no resolved lock: {error!r}")
        return None
    return tuple(sorted(pins))


def _pin(
    root: str, name: str, version: str, download: Mapping[str, Any], *, moved: Sequence[tuple[str, str]]
) -> Pin:
    address, name, version = str(download["url"]), normalised(name), str(version)
    below = f"#subdirectory={download['subdirectory']}" if download.get("subdirectory") else ""
    if commit := download.get("vcs_info"):
        return Pin(name, version, f"{commit['vcs']}+{public(address)}@{commit['commit_id']}{below}", "")
    if address.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        address = _at_home(unquote(urlsplit(address).path), moved)
    place = location(root, address)
    if "dir_info" in download:
        return Pin(name, version, place, "")
    archive = download["archive_info"]
    sha256 = str((archive.get("hashes") or {}).get("sha256") or archive.get("hash", "").partition("=")[2])
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{name} has no sha256")
    return Pin(name, version, place, sha256)


def _at_home(path: str, moved: Sequence[tuple[str, str]]) -> str:
    """The path on this machine of what was at `path` where pip ran."""
    for here, at in moved:
        if path == at or path.startswith(f"{at}/"):
            return here + path[len(at) :]
    return path
