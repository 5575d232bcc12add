"""Making the image of an environment: base image, conda layer, pip section; published by its last commit."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from amlexec import digest as content
from amlexec import images, locks
from amlexec.environments import base, conda, image, layers
from amlexec.environments.image import PREFIX
from amlexec.environments.order import Built
from amlexec.environments.pins import pip_lines
from amlexec.environments.pip import index_lines
from amlexec.environments.resolution import Resolution
from amlexec.environments.worker import LOCKED_SECONDS, Worker, lock_file, sweep
from amlexec.errors import TargetError
from amlexec.network import build_variables, cache_folder, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rattler import RepoDataRecord

    from amlexec.engine import Engine
    from amlexec.environments.log import Log
    from amlexec.environments.order import Order
    from amlexec.network import Network
    from amlexec.progress import Progress

__all__ = ["COMPILE", "PipSection", "archived", "build", "pip_section", "resolved"]

_SOURCES = "/opt/amlexec/src"
"""Where local wheels and folders with sources are in an image."""
_REQUIREMENTS = "/tmp/amlexec-requirements"  # noqa: S108 - in a container that is ours alone
_BUNDLE = "/tmp/amlexec-ca.pem"  # noqa: S108
COMPILE = f"""
import compileall, os, py_compile, sys
# Otherwise every run would compile every module anew: its user may not write here. A hash instead of a
# time, and times set back, make the layer the same whenever it is made.
import glob
for folder in glob.glob({PREFIX + "/lib/python3*/site-packages"!r}):
    compileall.compile_dir(folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
for at, folders, files in os.walk({PREFIX!r}, topdown=False):
    for name in files:
        if name.endswith(".pyc"):
            os.utime(os.path.join(at, name), ({layers.EPOCH}, {layers.EPOCH}))
    os.utime(at, ({layers.EPOCH}, {layers.EPOCH}))
"""
_LIST = """
import importlib.metadata, json, os, sys
for path in sys.argv[1:]:
    if os.path.exists(path):
        os.unlink(path)
found = sorted({(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()})
sys.stdout.write(json.dumps(found))
"""


def build(engine: Engine, order: Order, progress: Progress, log: Log) -> Built:
    """Make the image of an environment.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: something could not be fetched, or did not work inside the image.
    """
    sweep(engine, order.digest)
    network = settings()
    found = base.ensure(engine, order.spec.base_image, order.base_place, progress)
    resolution = resolved(order, network, progress)
    records = resolution.records
    layer = _conda_layer(engine, order, found, records, network, progress, log)
    variables = {"PATH": f"{PREFIX}/bin:{found.path}", "CONDA_PREFIX": PREFIX}
    labels = {
        image.DIGEST: order.digest,
        image.PROJECT: order.project.name,
        image.RECIPE: str(order.spec.recipe),
        image.BASE: found.pinned,
        image.PYTHON: resolution.python,
        image.PLATFORM: order.spec.platform.subdir,
        image.CONDA: "",
    }
    with Worker(engine, layer, order.digest) as worker:
        installed: list[tuple[str, str]] = []
        if any(not entry.is_constraint for entry in order.requirements.entries):
            progress.step("installing the pip section")
            installed = _pip(worker, order, pip_section(order, resolution, network), network, log)
        made = worker.commit(image.reference(order.digest), labels, variables)
    packages = tuple(
        (record.name.source, str(record.version), str(record.build), record.url) for record in records
    )
    return Built(made, found.pinned, resolution.python, packages, tuple(installed))


def resolved(order: Order, network: Network, progress: Progress) -> Resolution:
    """What the order comes to: what its lock file says, else what is solved now (pip resolves for itself).

    Raises:
        ConfigurationError: the dependencies can't be fulfilled, or the lock file is damaged.
        TargetError: a channel can't be reached.
    """
    platform = order.spec.platform
    if order.lock is not None:
        from amlexec import lockfile

        sources = conda.channels(order.project, order.dependencies, network)
        return lockfile.resolution_from(order.lock, platform, sources)
    progress.step("solving the conda section")
    records = conda.solve(order.project, order.dependencies, platform, network, cache=cache_folder())
    return Resolution(tuple(records))


class PipSection(NamedTuple):
    """What pip is given. Lines may hold passwords."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    """Files and folders of this machine, and where they have to be in the image."""
    options: tuple[str, ...] = ()
    """Of pip's command line."""


def pip_section(order: Order, resolution: Resolution, network: Network) -> PipSection:
    """The pip section as pip is given it in the image: exactly what is locked, else the lines themselves."""
    if order.lock is not None:
        pinned = pip_lines(order.project.root, resolution.pins, order.requirements)
        inside = [f"{_SOURCES}/{number}/{Path(one.path).name}" for number, one in enumerate(pinned)]
        texts = [str(one.text).replace("{}", at) for one, at in zip(pinned, inside, strict=True)]
        sources = [(one.path, at) for one, at in zip(pinned, inside, strict=True) if one.path]
        indexes = [str(line) for line in index_lines(order.requirements, network)]
        return PipSection((*indexes, *texts), (), tuple(sources), ("--no-deps",))
    told: dict[bool, list[str]] = {False: [], True: []}
    sources = []
    for number, entry in enumerate(order.requirements.entries):
        line = str(entry.raw)
        if entry.path:
            at = f"{_SOURCES}/{number}/{Path(entry.path).name}"
            sources.append((entry.path, at))
            line = line.replace(entry.path, at)
        told[entry.is_constraint].append(line)
    return PipSection(tuple(told[False]), tuple(told[True]), tuple(sources))


def _conda_layer(
    engine: Engine,
    order: Order,
    found: base.Base,
    records: Sequence[RepoDataRecord],
    network: Network,
    progress: Progress,
    log: Log,
) -> str:
    """The image with the conda packages: one for all environments that only differ in their pip section."""
    what = content.of_bytes(
        content.canonical_json(
            [order.spec.recipe, found.image_id, [[one.url, (one.sha256 or b"").hex()] for one in records]]
        )
    )
    if known := images.find(engine, {image.CONDA: what}):
        log.line(f"the conda layer is there: {known[0]['Id']}")
        return str(known[0]["Id"])
    with locks.exclusive(str(lock_file(engine, what)), LOCKED_SECONDS):
        if known := images.find(engine, {image.CONDA: what}):
            return str(known[0]["Id"])
        sweep(engine, what)
        with archived(order, records, network, progress, log) as archive:
            progress.step(f"copying them onto {order.spec.base_image}")
            with Worker(engine, found.image_id, what) as worker:
                worker.put(archive)
                worker.start()
                code = worker.run([f"{PREFIX}/bin/python", "-I", "-c", COMPILE], log.write)
                if code != 0:
                    raise TargetError(f"Python's modules could not be compiled: exit code {code}")
                labels = {image.CONDA: what, image.PROJECT: order.project.name}
                return worker.commit(image.reference(what, "conda"), labels, {})


@contextlib.contextmanager
def archived(
    order: Order, records: Sequence[RepoDataRecord], network: Network, progress: Progress, log: Log
) -> Iterator[IO[bytes]]:
    """The conda packages as a tar archive that is unpacked at the root; a file that is gone afterwards."""
    cache = cache_folder()
    staging = cache / "staging"
    staging.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=staging))
    try:
        progress.step(f"installing {len(records)} conda packages")
        conda.install(
            records,
            folder / "env",
            PREFIX,
            order.spec.platform,
            network,
            cache=cache,
            progress=progress.at,
        )
        with tempfile.TemporaryFile(dir=staging) as archive:
            files = layers.write(str(folder / "env"), PREFIX, archive)
            log.line(f"{files} files, {archive.tell()} bytes")
            archive.seek(0)
            yield archive
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pip(
    worker: Worker, order: Order, section: PipSection, network: Network, log: Log
) -> list[tuple[str, str]]:
    bundle = Path(network.ca_bundle) if network.ca_bundle else None
    with tempfile.TemporaryFile() as held:
        with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path, at in section.sources:
                _add_source(archive, path, at)
            for name, lines in (("txt", section.lines), ("constraints", section.constraints)):
                _add_text(archive, f"{_REQUIREMENTS}.{name}", "".join(f"{line}\n" for line in lines).encode())
            if bundle is not None:
                _add_text(archive, _BUNDLE, bundle.read_bytes())
        held.seek(0)
        worker.put(held)
    worker.start()
    variables = {name: str(value) for name, value in build_variables(network).items()}
    variables |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1", "HOME": "/root"}
    if bundle is not None:
        variables |= {"PIP_CERT": _BUNDLE, "SSL_CERT_FILE": _BUNDLE, "REQUESTS_CA_BUNDLE": _BUNDLE}
    log.hide(*variables.values(), *section.lines, *section.constraints)
    command = [f"{PREFIX}/bin/python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore"]
    command += ["--disable-pip-version-check", "--progress-bar=off", *section.options]
    command += ["-r", f"{_REQUIREMENTS}.txt", "-c", f"{_REQUIREMENTS}.constraints"]
    code = worker.run(command, log.write, variables)
    if code != 0:
        raise log.failure(order, code)
    said = bytearray()
    left = [f"{_REQUIREMENTS}.txt", f"{_REQUIREMENTS}.constraints", _BUNDLE]
    # What could tell a password goes before the commit: no layer ever has it.
    if worker.run([f"{PREFIX}/bin/python", "-I", "-c", _LIST, *left], said.extend) != 0:
        raise TargetError(f"the installed packages can't be listed: {said.decode(errors='replace')}")
    return [(str(name), str(version)) for name, version in json.loads(said)]


def _add_source(archive: tarfile.TarFile, path: str, at: str) -> None:
    def normal(one: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if any(part in {".git", "__pycache__", ".amlexec"} for part in one.name.split("/")):
            return None
        one.uid = one.gid = 0
        one.uname = one.gname = ""
        one.mtime = layers.EPOCH
        return one

    archive.add(path, at.lstrip("/"), filter=normal)


def _add_text(archive: tarfile.TarFile, path: str, text: bytes) -> None:
    entry: Any = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode, entry.mtime = len(text), 0o600, layers.EPOCH
    archive.addfile(entry, io.BytesIO(text))
