"""The pip section of an environment, installed inside of its image by the environment's own pip.

What pip needs for it and nobody afterwards (requirements with passwords, certificates, wheels, sources) is
gone before the image is committed: no layer ever has it. Only sources of editable packages stay.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import digest
from amlexec.environments.image import PREFIX
from amlexec.errors import TargetError
from amlexec.packages import stable_tar
from amlexec.packages.network import build_variables
from amlexec.packages.pip_pins import pip_lines
from amlexec.packages.pip_resolve import index_lines
from amlexec.packages.requirement_paths import is_archive
from amlexec.packages.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.environments.log import Log
    from amlexec.environments.order import Order
    from amlexec.environments.worker import Worker
    from amlexec.packages.network import Network
    from amlexec.packages.resolve import Resolution

__all__ = [
    "LIST",
    "PATIENCE",
    "Section",
    "files_of",
    "install",
    "is_wanted",
    "needs_this_machine",
    "section_of",
    "write_sources",
]

_SOURCES = "/opt/amlexec/src"
"""Where local wheels and folders with sources are while pip installs them; editable ones for ever."""
_REQUIREMENTS = "/tmp/amlexec-requirements"  # noqa: S108 - in a container that is ours alone
_BUNDLE = "/tmp/amlexec-ca.pem"  # noqa: S108
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


def is_wanted(order: Order) -> bool:
    """Whether there is anything to install."""
    return any(not entry.is_constraint for entry in order.requirements.entries)


def needs_this_machine(order: Order, network: Network) -> bool:
    """Whether pip must see this machine as itself: an index or a proxy on the loopback."""
    told = [*network.addresses, *(entry.raw for entry in order.requirements.entries)]
    return any(is_loopback(str(address)) for address in told)


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


def install(
    worker: Worker, order: Order, resolution: Resolution, network: Network, log: Log
) -> list[tuple[str, str]]:
    """Install it; name and version of all that Python then finds installed.

    Raises:
        TargetError: pip failed, with the line that it was about, its last lines and the log's path.
    """
    section = section_of(order, resolution, network, _SOURCES)
    links = [(path, _links(number)) for number, path in enumerate(_folders(network)) if path]
    files = {_requirements(number): _text(lines) for number, lines in enumerate(section.steps)}
    files[f"{_REQUIREMENTS}.constraints"] = _text(section.constraints)
    if network.ca_bundle:
        files[_BUNDLE] = Path(network.ca_bundle).read_bytes()
    with tempfile.TemporaryFile() as held:
        with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
            write_sources(archive, (*section.sources, *links), order)
            for name, text in files.items():
                _add_text(archive, name, text)
        held.seek(0)
        worker.put(held)
    worker.start()
    variables = _variables(network)
    log.hide(*variables.values(), *section.lines, *section.unhashed, *section.constraints)
    command = [f"{PREFIX}/bin/python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore"]
    command += ["--disable-pip-version-check", "--progress-bar=off", *section.options]
    for number in range(len(section.steps)):
        given = ["-r", _requirements(number), "-c", f"{_REQUIREMENTS}.constraints"]
        code = worker.run([*command, *given], log.write, variables)
        if code != 0:
            raise log.failure(order, code)
    said = bytearray()
    left = [*files, *(at for _, at in (*section.sources, *links) if at not in section.kept)]
    if worker.run([f"{PREFIX}/bin/python", "-I", "-c", LIST, _SOURCES, *left], said.extend) != 0:
        raise TargetError(f"the installed packages can't be listed: {said.decode(errors='replace')}")
    return [(str(name), str(version)) for name, version in json.loads(said)]


def section_of(order: Order, resolution: Resolution, network: Network, folder: str) -> Section:
    """What pip is given; `folder` is where sources lie then."""
    return _locked(order, resolution, network, folder) if order.lock is not None else _declared(order, folder)


def _declared(order: Order, folder: str) -> Section:
    told: dict[bool, list[str]] = {False: [], True: []}
    sources, kept = [], []
    for number, entry in enumerate(order.requirements.entries):
        line = str(entry.raw)
        if entry.path:
            at = _inside(folder, number, entry.path)
            sources.append((entry.path, at))
            line = line.replace(entry.path, at)
            if entry.kind.endswith("editable"):
                kept.append(at)
        told[entry.is_constraint].append(line)
    return Section(tuple(told[False]), tuple(told[True]), tuple(sources), tuple(kept))


def _locked(order: Order, resolution: Resolution, network: Network, folder: str) -> Section:
    """Exactly what the lock file names."""
    found = order.requirements
    pinned = pip_lines(order.project.root, resolution.pins, found)
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


def _requirements(number: int) -> str:
    return f"{_REQUIREMENTS}{number or ''}.txt"


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _variables(network: Network) -> dict[str, str]:
    variables = {name: str(value) for name, value in build_variables(network).items()}
    variables |= {name: os.environ[name] for name in PATIENCE if name in os.environ}
    variables |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1", "HOME": "/root"}
    if network.find_links:
        links = zip(network.find_links, _folders(network), strict=True)
        told = (_links(number) if path else str(link) for number, (link, path) in enumerate(links))
        variables["PIP_FIND_LINKS"] = " ".join(told)
    if network.ca_bundle:
        variables |= {"PIP_CERT": _BUNDLE, "SSL_CERT_FILE": _BUNDLE, "REQUESTS_CA_BUNDLE": _BUNDLE}
    return variables


def _folders(network: Network) -> list[str]:
    """For each place with packages in pip's settings, its folder on this machine; "" for an address."""
    paths = [str(link).removeprefix("file://") for link in network.find_links]
    return [path if Path(path).is_dir() else "" for path in paths]


def _inside(folder: str, number: int, path: str) -> str:
    return f"{folder}/{number}/{Path(path).name}"


def _links(number: int) -> str:
    return f"{_SOURCES}/links/{number}"


def write_sources(
    archive: tarfile.TarFile, sources: Iterable[tuple[str, str]], order: Order | None = None
) -> None:
    """Add files and folders of this machine, each with the place that it is to have.

    Of a folder with sources, exactly the files that are in the digest of `order` are added.
    """
    for path, at in sources:
        for name in files_of(path, order):
            source = os.path.join(path, name) if name else path  # noqa: PTH118
            if not _has_sources(path):
                # What is named may be a link, also to somewhere else; a package in a folder as well.
                source = os.path.realpath(source)
            archive.add(source, f"{at}/{name}".strip("/"), recursive=False, filter=_plain)


def files_of(path: str, order: Order | None = None) -> list[str]:
    """What is taken of a file, a folder with sources or a folder of packages: names in it, "" for itself."""
    folder = Path(path)
    if not folder.is_dir():
        return [""]
    if not _has_sources(path):
        # pip looks at what lies in it, and not below.
        return sorted(one.name for one in folder.iterdir() if one.is_file() and is_archive(one.name))
    if order is None:
        return digest.sources(path)
    known = next((one.files for one in order.requirements.entries if one.path == path), None)
    if known is not None:
        return list(known)
    from amlexec.snapshots import sources

    return sources.files(order.project.root, path)


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


def _add_text(archive: tarfile.TarFile, path: str, text: bytes) -> None:
    entry: Any = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode, entry.mtime = len(text), 0o600, stable_tar.EPOCH
    archive.addfile(entry, io.BytesIO(text))
