"""Making the image of an environment: base image, conda layer, pip section; published by its last commit."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from amlexec import digest as content
from amlexec import images, locks
from amlexec.environments import base, conda, image, layers
from amlexec.environments.image import PREFIX
from amlexec.environments.order import Built
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
    from amlexec.requirements import Entry

__all__ = ["COMPILE", "archived", "build", "solve"]

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
    records = solve(order, network, progress)
    python = conda.python_version(records)
    layer = _conda_layer(engine, order, found, records, network, progress, log)
    variables = {"PATH": f"{PREFIX}/bin:{found.path}", "CONDA_PREFIX": PREFIX}
    labels = {
        image.DIGEST: order.digest,
        image.PROJECT: order.project.name,
        image.RECIPE: str(order.spec.recipe),
        image.BASE: found.pinned,
        image.PYTHON: python,
        image.PLATFORM: order.spec.platform.subdir,
        image.CONDA: "",
    }
    with Worker(engine, layer, order.digest) as worker:
        installed: list[tuple[str, str]] = []
        if any(not entry.is_constraint for entry in order.requirements.entries):
            progress.step("installing the pip section")
            installed = _pip(worker, order, network, log)
        made = worker.commit(image.reference(order.digest), labels, variables)
    packages = tuple(
        (record.name.source, str(record.version), str(record.build), record.url) for record in records
    )
    return Built(made, found.pinned, python, packages, tuple(installed))


def solve(order: Order, network: Network, progress: Progress) -> Sequence[RepoDataRecord]:
    """The conda packages that the order comes to. Raises as `conda.solve` does."""
    progress.step("solving the conda section")
    return conda.solve(order.project, order.dependencies, order.spec.platform, network, cache=cache_folder())


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


def _pip(worker: Worker, order: Order, network: Network, log: Log) -> list[tuple[str, str]]:
    lines = {False: list[str](), True: list[str]()}
    bundle = Path(network.ca_bundle) if network.ca_bundle else None
    with tempfile.TemporaryFile() as held:
        with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for number, entry in enumerate(order.requirements.entries):
                if entry.path:
                    _add_source(archive, entry, number)
                lines[entry.is_constraint].append(_line(entry, number))
            for name, text in (("txt", lines[False]), ("constraints", lines[True])):
                _add_text(archive, f"{_REQUIREMENTS}.{name}", "".join(f"{line}\n" for line in text).encode())
            if bundle is not None:
                _add_text(archive, _BUNDLE, bundle.read_bytes())
        held.seek(0)
        worker.put(held)
    worker.start()
    variables = {name: str(value) for name, value in build_variables(network).items()}
    variables |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1", "HOME": "/root"}
    if bundle is not None:
        variables |= {"PIP_CERT": _BUNDLE, "SSL_CERT_FILE": _BUNDLE, "REQUESTS_CA_BUNDLE": _BUNDLE}
    log.hide(*variables.values(), *(str(entry.raw) for entry in order.requirements.entries))
    command = [f"{PREFIX}/bin/python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore"]
    command += ["--disable-pip-version-check", "--progress-bar=off"]
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


def _line(entry: Entry, number: int) -> str:
    raw = str(entry.raw)
    return raw.replace(entry.path, _inside(entry, number)) if entry.path else raw


def _inside(entry: Entry, number: int) -> str:
    return f"{_SOURCES}/{number}/{Path(entry.path).name}"


def _add_source(archive: tarfile.TarFile, entry: Entry, number: int) -> None:
    def normal(one: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if any(part in {".git", "__pycache__", ".amlexec"} for part in one.name.split("/")):
            return None
        one.uid = one.gid = 0
        one.uname = one.gname = ""
        one.mtime = layers.EPOCH
        return one

    archive.add(entry.path, _inside(entry, number).lstrip("/"), filter=normal)


def _add_text(archive: tarfile.TarFile, path: str, text: bytes) -> None:
    entry: Any = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode, entry.mtime = len(text), 0o600, layers.EPOCH
    archive.addfile(entry, io.BytesIO(text))
