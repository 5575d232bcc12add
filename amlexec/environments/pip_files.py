"""What pip is given for the pip section of an environment: lines, options, and files that go along."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import digest
from amlexec.errors import ConfigurationError
from amlexec.packages import stable_tar
from amlexec.packages.pip_pins import pip_lines
from amlexec.packages.pip_resolve import index_lines
from amlexec.packages.requirement_paths import is_archive
from amlexec.packages.urls import is_loopback, public

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.environments.request import BuildRequest
    from amlexec.packages.network import Network
    from amlexec.packages.resolve import Resolution

__all__ = [
    "LIST",
    "PATIENCE",
    "Section",
    "files_of",
    "is_wanted",
    "must_be_reachable",
    "section_of",
    "write_sources",
]

PATIENCE = ("PIP_RETRIES", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT")
LIST = """
import importlib.metadata, json, os, shutil, sys
root, *paths = sys.argv[1:]
for path in paths:
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
sys.stdout.write(json.dumps(found))
"""
"""Removes what pip needed and nobody afterwards, and lists what Python finds installed. Its arguments are the
folder of sources, and the paths to remove."""


def is_wanted(request: BuildRequest) -> bool:
    """Whether there is anything to install."""
    return any(not entry.is_constraint for entry in request.requirements.entries)


def must_be_reachable(request: BuildRequest, resolution: Resolution, network: Network, name: str) -> None:
    """Raises ConfigurationError where a package index is a folder, or on the loopback, of this machine."""
    section = section_of(request, resolution, network, "")
    lines = (*section.lines, *section.unhashed, *section.constraints)
    for line in (*lines, *map(str, index_lines(request.requirements, network))):
        if is_loopback(line) or line.startswith(("--index-url file:", "--extra-index-url file:")):
            address = public(line.split()[-1])
            entry = next((one for one in request.requirements.entries if str(one.raw) == line), None)
            raise ConfigurationError(
                f"{address} is on this machine alone, and {name} can't reach it",
                where=str(entry.place if entry is not None else request.dependencies.place),
                hint="give an address that leads here from there, or a folder of wheels with --find-links",
            )


class Section(NamedTuple):
    """What pip is given. Lines may hold passwords."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    """Files and folders of this machine, and where they have to be in the image."""
    kept: tuple[str, ...]
    """Which of those places are needed after pip has ended."""
    options: tuple[str, ...] = ()
    """Of pip's command line."""
    unhashed: tuple[str, ...] = ()
    """Lines for a second pip: where one line has a hash, pip refuses all that have none."""

    @property
    def steps(self) -> tuple[tuple[str, ...], ...]:
        """The lines of each pip, in order."""
        return tuple(lines for lines in (self.lines, self.unhashed) if lines)


def section_of(request: BuildRequest, resolution: Resolution, network: Network, folder: str) -> Section:
    """What pip is given; `folder` is where sources lie then."""
    return (
        _locked(request, resolution, network, folder)
        if request.lock is not None
        else _declared(request, folder)
    )


def _declared(request: BuildRequest, folder: str) -> Section:
    told: dict[bool, list[str]] = {False: [], True: []}
    sources, kept = [], []
    for number, entry in enumerate(request.requirements.entries):
        line = str(entry.raw)
        if entry.path:
            at = _inside(folder, number, entry.path)
            sources.append((entry.path, at))
            line = line.replace(entry.path, at)
            if entry.kind.endswith("editable"):
                kept.append(at)
        told[entry.is_constraint].append(line)
    return Section(tuple(told[False]), tuple(told[True]), tuple(sources), tuple(kept))


def _locked(request: BuildRequest, resolution: Resolution, network: Network, folder: str) -> Section:
    """Exactly what the lock file names."""
    found = request.requirements
    pinned = pip_lines(request.project.root, resolution.pins, found)
    sources, kept = [], []
    # What packages are built with is looked for where the file says; a folder that it names goes along.
    indexes = [str(line) for line in index_lines(found, network._replace(find_links=()))]
    for number, entry in enumerate(found.entries, len(pinned)):
        if entry.path and entry.kind == "option":
            at = _inside(folder, number, entry.path)
            sources.append((entry.path, at))
            indexes = [line.replace(entry.path, at) if line == entry.raw else line for line in indexes]
    told: dict[bool, list[str]] = {True: [], False: []}
    for number, line in enumerate(pinned):
        text = str(line.text)
        if line.path:
            at = _inside(folder, number, line.path)
            sources.append((line.path, at))
            kept += [at] if text.startswith("-e ") else []
            text = text.replace("{}", at)
        told[" --hash=" in text].append(text)
    free = [line for line in indexes if line != "--require-hashes"]
    return Section(
        (*indexes, *told[True]) if told[True] else (),
        (),
        tuple(sources),
        tuple(kept),
        ("--no-deps",),
        (*free, *told[False]) if told[False] else (),
    )


def _inside(folder: str, number: int, path: str) -> str:
    return f"{folder}/{number}/{Path(path).name}"


def write_sources(
    archive: tarfile.TarFile, sources: Iterable[tuple[str, str]], request: BuildRequest | None = None
) -> None:
    """Add files and folders of this machine, each with the place that it is to have.

    Of a folder with sources, exactly the files that are in the digest of `request` are added.
    """
    for path, at in sources:
        for name in files_of(path, request):
            source = os.path.join(path, name) if name else path  # noqa: PTH118
            if not _has_sources(path):
                # What is named may be a link, also to somewhere else; a package in a folder as well.
                source = os.path.realpath(source)
            archive.add(source, f"{at}/{name}".strip("/"), recursive=False, filter=_plain)


def files_of(path: str, request: BuildRequest | None = None) -> list[str]:
    """What is taken of a file, a folder with sources or a folder of packages: names in it, "" for itself."""
    folder = Path(path)
    if not folder.is_dir():
        return [""]
    if not _has_sources(path):
        # pip looks at what lies in it, and not below.
        return sorted(one.name for one in folder.iterdir() if one.is_file() and is_archive(one.name))
    if request is None:
        return digest.sources(path)
    known = next((one.files for one in request.requirements.entries if one.path == path), None)
    if known is not None:
        return list(known)
    from amlexec.snapshots import sources

    return sources.files(request.project.root, path)


def _has_sources(path: str) -> bool:
    return any(Path(path, name).exists() for name in ("pyproject.toml", "setup.py"))


def _plain(one: tarfile.TarInfo) -> tarfile.TarInfo:
    one.uid = one.gid = 0
    one.uname = one.gname = ""
    one.mtime = stable_tar.EPOCH
    if one.isfile():
        # As in the digest. Whoever may see the file here is no matter: the user of a run is another one.
        one.mode = 0o755 if one.mode & 0o100 else 0o644
    return one
