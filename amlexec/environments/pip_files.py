"""The input of pip for the pip section of an environment: lines, options and files."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from amlexec import digest
from amlexec.errors import ConfigurationError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.packages import stable_tar
from amlexec.packages.pip_pins import pip_lines
from amlexec.packages.pip_resolve import index_lines
from amlexec.packages.requirement_paths import is_archive
from amlexec.packages.urls import is_loopback, public

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.environments.build_context import BuildContext
    from amlexec.environments.request import BuildRequest

__all__ = [
    "PIP_NETWORK_VARIABLES",
    "Section",
    "files_of",
    "is_wanted",
    "must_be_reachable",
    "section_of",
    "write_sources",
]

PIP_NETWORK_VARIABLES = ("PIP_RETRIES", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT")


def is_wanted(request: BuildRequest) -> bool:
    """Whether the pip section installs anything."""
    return any(not entry.is_constraint for entry in request.requirements.entries)


def must_be_reachable(context: BuildContext, machine: str) -> None:
    """Raise ConfigurationError if a package index is a folder or a loopback address of this machine."""
    request, section = context.request, section_of(context, "")
    lines = (*section.lines, *section.unhashed, *section.constraints)
    for line in (*lines, *map(str, index_lines(request.requirements, context.network))):
        if is_loopback(line) or line.startswith(("--index-url file:", "--extra-index-url file:")):
            address = public(line.split()[-1])
            entry = next((each for each in request.requirements.entries if str(each.raw) == line), None)
            raise ConfigurationError(
                f"{address} is only on this machine, so {machine} can't reach it",
                where=str(entry.place if entry is not None else request.dependencies.place),
                hint="use an address that it can reach, or a folder of wheels with --find-links",
            )


class Section(NamedTuple):
    """The input of pip. Lines may hold passwords."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    """Files and folders of this machine, and their paths in the image."""
    kept: tuple[str, ...]
    """Which of those paths are needed after the installation."""
    options: tuple[str, ...] = ()
    """Options of pip's command line."""
    unhashed: tuple[str, ...] = ()
    """Lines for a second pip: if one line has a hash, pip refuses lines without one."""

    @property
    def steps(self) -> tuple[tuple[str, ...], ...]:
        """The lines of each call of pip, in order."""
        return tuple(lines for lines in (self.lines, self.unhashed) if lines)


def section_of(context: BuildContext, folder: str) -> Section:
    """The input of pip; `folder` will hold the sources."""
    if context.request.lock is not None:
        return _locked(context, folder)
    return _declared(context.request, folder)


def _declared(request: BuildRequest, folder: str) -> Section:
    lines: dict[bool, list[str]] = {False: [], True: []}
    sources, kept = [], []
    for number, entry in enumerate(request.requirements.entries):
        line = str(entry.raw)
        if entry.path:
            at = _inside(folder, number, entry.path)
            sources.append((entry.path, at))
            line = line.replace(entry.path, at)
            if entry.kind.endswith("editable"):
                kept.append(at)
        lines[entry.is_constraint].append(line)
    return Section(tuple(lines[False]), tuple(lines[True]), tuple(sources), tuple(kept))


def _locked(context: BuildContext, folder: str) -> Section:
    """Exactly the packages of the lock file."""
    requirements = context.request.requirements
    pinned = pip_lines(context.request.project.root, context.resolution.pins, requirements)
    sources, kept = [], []
    # Build requirements come from the indexes in the file; its --find-links folders are sent.
    indexes = [str(line) for line in index_lines(requirements, context.network._replace(find_links=()))]
    for number, entry in enumerate(requirements.entries, len(pinned)):
        if entry.path and entry.kind == "option":
            at = _inside(folder, number, entry.path)
            sources.append((entry.path, at))
            indexes = [line.replace(entry.path, at) if line == entry.raw else line for line in indexes]
    lines: dict[bool, list[str]] = {True: [], False: []}
    for number, line in enumerate(pinned):
        text = str(line.text)
        if line.path:
            at = _inside(folder, number, line.path)
            sources.append((line.path, at))
            kept += [at] if text.startswith("-e ") else []
            text = text.replace("{}", at)
        lines[" --hash=" in text].append(text)
    free = [line for line in indexes if line != "--require-hashes"]
    return Section(
        (*indexes, *lines[True]) if lines[True] else (),
        (),
        tuple(sources),
        tuple(kept),
        ("--no-deps",),
        (*free, *lines[False]) if lines[False] else (),
    )


def _inside(folder: str, number: int, path: str) -> str:
    return f"{folder}/{number}/{Path(path).name}"


def write_sources(
    archive: tarfile.TarFile, sources: Iterable[tuple[str, str]], request: BuildRequest | None = None
) -> None:
    """Add files and folders of this machine to an archive, each under its new path.

    From a folder with sources, adds exactly the files in the digest of `request`.
    """
    for path, at in sources:
        for name in files_of(path, request):
            source = os.path.join(path, name) if name else path  # noqa: PTH118
            if not _has_sources(path):
                # The file may be a link that leads out of its folder, and so may a package in a folder.
                source = os.path.realpath(source)
            archive.add(source, f"{at}/{name}".strip("/"), recursive=False, filter=_plain)


def files_of(path: str, request: BuildRequest | None = None) -> list[str]:
    """The names to take from a folder with sources or a folder of packages; "" for a file itself."""
    folder = Path(path)
    if not folder.is_dir():
        return [""]
    if not _has_sources(path):
        # pip looks only at the top level of the folder.
        return sorted(file.name for file in folder.iterdir() if file.is_file() and is_archive(file.name))
    if request is None:
        return digest.sources(path)
    names = next((entry.files for entry in request.requirements.entries if entry.path == path), None)
    if names is not None:
        return list(names)
    from amlexec.snapshots import sources

    return sources.files(request.project.root, path)


def _has_sources(path: str) -> bool:
    return any(Path(path, name).exists() for name in ("pyproject.toml", "setup.py"))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = stable_tar.EPOCH
    if member.isfile():
        # As in the digest. Read permissions of this machine are not kept: a run has another user.
        member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member
