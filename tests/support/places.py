"""The places that the contract suite runs on, and what all tests with an engine share.

A session of tests has a base image of its own, under a name and with a label that nobody else has. Images
and containers that are made of it inherit the label: nothing of one session is taken for another's, and
at the end everything of it is found and removed, by name.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tarfile
import time
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from amlexec.docker import archives, containers, images
from amlexec.docker.errors import EngineAnswerError
from tests.conftest import PATIENCE, ProjectFolder, eventually
from tests.engines.base_image import _libraries as libraries
from tests.engines.ssh_host import QUIET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.docker.client import Engine
    from tests.engines.spark import Installed
    from tests.support.engine_hosts import EngineHost
    from tests.support.hosts import Host, SparkHead

__all__ = [
    "FAST_JAVA",
    "LABEL",
    "SPARK_FAST",
    "ClusterProject",
    "PLACES",
    "DockerProject",
    "Place",
    "RemoteDockerProject",
    "RemoteProject",
    "Shop",
    "alive",
    "new_base",
    "shop",
    "shop_of_session",
    "spark_base",
]

LABEL = "amlexec-test.session"
FAST_JAVA = (
    "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
"""For a Java that ends soon."""
SPARK_FAST = f"""\
configuration:
  spark.ui.enabled: false
  spark.driver.memory: 512m
  spark.driver.extraJavaOptions: {FAST_JAVA}
  spark.executor.memory: 512m
  spark.executor.extraJavaOptions: {FAST_JAVA}
  spark.sql.shuffle.partitions: 1
  spark.default.parallelism: 1
"""
"""Spark dependencies with which a Spark of the tests begins as soon as it can."""
_NETWORK = ("PIP_", "UV_", "CONDA", "RATTLER_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "NETRC")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Place(NamedTuple):
    """A compute target, and what a test has to know of it."""

    name: str
    kind: str
    mounts: bool
    """Whether folders of this machine are the same folders there."""
    volumes: bool = True
    """`sharedVolumes`."""

    @property
    def is_prepared(self) -> bool:
        """Whether amlexec prepares the environment there."""
        return self.is_docker or self.name.endswith("managed")

    @property
    def has_spark(self) -> bool:
        """Whether spark-submit runs the scripts."""
        return self.kind == "cluster"

    @property
    def is_docker(self) -> bool:
        """Whether runs are containers."""
        return self.kind in {"docker", "remotedocker", "containerinstance", "kubernetes"}


PLACES = (
    Place("local", "local", mounts=True),
    Place("docker", "docker", mounts=True),
    Place("docker-copy", "docker", mounts=False, volumes=False),
    Place("remote", "remote", mounts=False),
    Place("remotedocker", "remotedocker", mounts=False),
    Place("remotedocker-copy", "remotedocker", mounts=False, volumes=False),
    Place("managed", "remote", mounts=False),
    Place("cluster", "cluster", mounts=False),
    Place("slurm", "slurm", mounts=False),
)


class Shop(NamedTuple):
    """What the tests of a session share."""

    engine: Engine
    session: str
    base: str
    """Reference of the session's own base image."""
    channel: str
    wheels: str
    cache: Path

    def conda(self, *specs: str, pip: tuple[str, ...] = (), channel: str = "") -> str:
        """A conda dependencies file, a line per package: `python` is line 4, the specs follow it."""
        lines = ["channels:", f"  - {channel or self.channel}", "dependencies:", "  - python"]
        lines += [f"  - {spec}" for spec in specs]
        lines += ["  - pip", "  - pip:"] if pip else []
        lines += [f"    - {line}" for line in pip]
        return "\n".join(lines) + "\n"

    def conda_for(self, what: str) -> str:
        """A conda dependencies file with six, for `what` alone: no other test builds on its image."""
        return self.conda(f"six !=0.0.{zlib.crc32(what.encode())}")

    def containers(self, **labels: str) -> list[dict[str, Any]]:
        """The containers of this session."""
        return containers.find(self.engine, {LABEL: self.session, **labels})

    def images(self, **labels: str) -> list[dict[str, Any]]:
        """The images of this session."""
        return images.find(self.engine, {LABEL: self.session, **labels})


class DockerProject(ProjectFolder):
    """A project with one run configuration, named as its place."""

    def __init__(self, root: Path, shop: Shop, place: Place = PLACES[1], conda: str = "") -> None:
        super().__init__(root)
        self.shop = shop
        self.place = place
        self.write("aml_config/conda_dependencies.yml", conda or shop.conda("six"))
        self.write("aml_config/local.compute", "type: local\n")
        self.write(f"aml_config/{place.name}.compute", self.compute())
        self.configure()

    @property
    def engine(self) -> Engine:
        """The engine that its runs are on."""
        return self.shop.engine

    def compute(self, *lines: str, base: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        told = [f"type: {self.place.kind}"]
        if self.place.is_docker:
            told += [f"baseDockerImage: {base or self.shop.base}"]
            told += [f"sharedVolumes: {str(self.place.volumes).lower()}"]
        return "\n".join([*told, *lines]) + "\n"

    def configure(self, *lines: str) -> None:
        """Write the `.runconfig` file, with more lines."""
        told = [f"Target: {self.place.name}", "Framework: Python"]
        told += ["CondaDependenciesFile: aml_config/conda_dependencies.yml"]
        self.write(f"aml_config/{self.place.name}.runconfig", "\n".join([*told, *lines]) + "\n")

    def submit(self, *arguments: str, **options: Any) -> Any:
        """Run `amlexec experiment submit`."""
        return self.amlexec("experiment", "submit", "-c", self.place.name, *arguments, **options)

    def prepare(self, *arguments: str, **options: Any) -> Any:
        """Run `amlexec experiment prepare`."""
        return self.amlexec("experiment", "prepare", "-c", self.place.name, *arguments, **options)

    def containers(self) -> list[dict[str, Any]]:
        """The containers of this project's runs."""
        if not self.place.is_docker:
            return []
        wanted = {LABEL: self.shop.session, "amlexec.project.folder": str(self.root)}
        return containers.find(self.engine, wanted)

    def printed(self, run_id: str) -> bytes:
        """What a run has printed to standard output by now."""
        if not self.place.is_docker:
            log = self.run_folder(run_id) / "stdout.log"
            return log.read_bytes() if log.exists() else b""
        found = self.run_folder(run_id) / "control/container"
        if not found.exists():
            return b""
        with containers.logs(self.engine, found.read_text()) as output:
            return b"".join(frame.data for frame in output if frame.stream == containers.STDOUT)

    def begun(self, run_id: str) -> None:
        """Wait until a run has printed a line."""
        eventually(lambda: self.printed(run_id).endswith(b"\n"), "the script begins")

    def has_copy(self, run_id: str) -> bool:
        """Whether the copy of the project that a run executed in is still there."""
        return (self.run_folder(run_id) / "project").is_dir()

    def tell(self, run_id: str, name: str = "go") -> None:
        """Put an empty file into the folder that a run executes in."""
        if self.place.mounts:
            (self.run_folder(run_id) / "project" / name).touch()
            return
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        container = (self.run_folder(run_id) / "control/container").read_text()
        archives.put(self.engine, container, "/azureml-run", held.getvalue())


class RemoteProject(DockerProject):
    """A project that runs on a test host."""

    def __init__(self, root: Path, shop: Shop, place: Place, host: Host) -> None:
        self.host = host
        super().__init__(root, shop, place)

    def compute(self, *lines: str, base: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        assert not base, "this machine has no images"
        told = ["type: remote", f"address: {self.host.address}", f"username: {QUIET}"]
        if self.place.is_prepared:
            told.append("userManagedEnvironment: false")
        else:
            told.append("pythonLocation: python3")
        return "\n".join([*told, *lines]) + "\n"

    def printed(self, run_id: str) -> bytes:
        """What a run has printed to standard output by now."""
        log = f"/home/{QUIET}/.amlexec/runs/{run_id}/stdout.log"
        return self.host.ssh(f"cat {log} 2>/dev/null || :").encode()

    def begun(self, run_id: str) -> None:
        """Wait until a run has printed a line."""
        log = f"/home/{QUIET}/.amlexec/runs/{run_id}/stdout.log"
        self.host.until(f'[ -s {log} ] && [ -z "$(tail -c 1 {log})" ]')

    def has_copy(self, run_id: str) -> bool:
        """Whether the copy of the project that a run executed in is still there."""
        return self.host.ssh(f"ls /home/{QUIET}/.amlexec/runs/{run_id} 2>/dev/null || :") != ""

    def tell(self, run_id: str, name: str = "go") -> None:
        """Put an empty file into the folder that a run executes in."""
        self.host.ssh(f"touch /home/{QUIET}/.amlexec/runs/{run_id}/project/{name}")


class RemoteDockerProject(DockerProject):
    """A project that runs in containers of a test host's engine."""

    def __init__(self, root: Path, shop: Shop, place: Place, host: EngineHost, user: str = QUIET) -> None:
        self.host = host
        self.user = user
        super().__init__(root, shop, place)

    @property
    def engine(self) -> Engine:
        """The engine that its runs are on."""
        return self.host.docker

    def compute(self, *lines: str, base: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        address = (f"address: {self.host.address}", f"username: {self.user}")
        return super().compute(*address, *lines, base=base)

    def has_copy(self, run_id: str) -> bool:
        """Whether the copy of the project that a run executed in is still there."""
        if not self.place.volumes:
            return super().has_copy(run_id)
        return self.host.ssh(f"ls /home/{self.user}/.amlexec/runs/{run_id} 2>/dev/null || :") != ""


class ClusterProject(RemoteProject):
    """A project that runs on a Spark cluster with a master of Spark's own."""

    host: SparkHead
    is_managed = False
    """Whether its environment is ours."""

    def compute(self, *lines: str, base: str = "", master: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        assert not base, "this machine has no images"
        told = ["type: cluster", f"address: {self.host.address}", f"username: {QUIET}"]
        told += [f"master: {master or self.host.master}"]
        told += [f"userManagedEnvironment: {str(not self.is_managed).lower()}"]
        return "\n".join([*told, "pythonLocation: python3", *lines]) + "\n"

    def configure(self, *lines: str) -> None:
        """Write the `.runconfig` file, with more lines, and fast settings of Spark."""
        told = [f"Target: {self.place.name}", "Framework: PySpark", *lines]
        self.write(f"aml_config/{self.place.name}.runconfig", "\n".join(told) + "\n")
        self.write("aml_config/spark_dependencies.yml", SPARK_FAST)


def alive(token: str) -> bool:
    """Whether a process whose command line has `token` in it still runs after a moment, wherever it is."""
    until = time.monotonic() + 5
    while found := _has(token):
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return found


def _has(token: str) -> bool:
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if token.encode() in Path(entry.path, "cmdline").read_bytes():
                        return True
    return False


def new_base(engine: Engine, of: str, reference: str, *labels: str) -> None:
    """Make an image that is `of` with labels (`name=value`), and with layers that no other image has."""
    made = containers.create(engine, {"Image": of, "Cmd": ["none"]})
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"own-{uuid.uuid4().hex}"))
        for library in _of_libc():
            archive.add(os.path.realpath(library), library.lstrip("/"))
    try:
        archives.put(engine, made, "/", held.getvalue())
        images.commit(engine, made, reference, changes=[f"LABEL {label}" for label in labels])
    finally:
        containers.remove(engine, made, force=True)


def _of_libc() -> list[str]:
    """What every image with glibc has, and the base image has not, since none of its programs needs it."""
    folder = Path(next(path for path in libraries([Path(sys.executable)]) if "/libc.so" in path)).parent
    names = ("libdl.so.2", "libpthread.so.0", "librt.so.1")
    return [f"{os.path.realpath(folder)}/{name}" for name in names if (folder / name).exists()]


@pytest.fixture(scope="session")
def shop_of_session(
    engine: Engine, base_image: str, channel: str, wheels: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """A base image and a package cache of this session's own."""
    session = uuid.uuid4().hex[:12]
    base = f"amlexec-test/session:{session}"
    cache = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The first prepare of all processes makes the installer, the others wait for it and use it, too.
        installers = tmp_path_factory.getbasetemp().parent / "installers"
        installers.mkdir(mode=0o700, exist_ok=True)
        (cache / "installers").symlink_to(installers)
    made = Shop(engine, session, base, channel, wheels, cache)
    new_base(engine, base_image, base, f"{LABEL}={session}")
    try:
        yield made
    finally:
        _remove_all(made)
        shutil.rmtree(cache, ignore_errors=True)


def _remove_all(shop: Shop) -> None:
    for container in shop.containers():
        containers.remove(shop.engine, container["Id"], force=True)
    until = time.monotonic() + PATIENCE
    while found := shop.images():
        removed = 0
        for image in found:
            for name in image["RepoTags"] or [image["Id"]]:
                # An image that another one is made of goes after it.
                with contextlib.suppress(EngineAnswerError):
                    removed += images.remove(shop.engine, image["Id"] if name == "<none>:<none>" else name)
        # Killed while it copied into a container, Podman may keep that one's files, and so its image.
        if not removed and shop.engine.features.is_podman:
            return
        assert time.monotonic() < until, f"images that can't be removed: {found}"


@pytest.fixture
def shop(shop_of_session: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """What the session shares, and settings in which nothing of this machine's network is left."""
    for name in list(os.environ):
        if name.startswith(_NETWORK) or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AMLEXEC_CACHE", str(shop_of_session.cache))
    return shop_of_session


@pytest.fixture(scope="session")
def spark_base(spark_parts: Installed, shop_of_session: Shop) -> str:
    """An image of this session with Spark and Java."""
    reference = f"amlexec-test/session-spark:{shop_of_session.session}"
    new_base(shop_of_session.engine, spark_parts.image, reference, f"{LABEL}={shop_of_session.session}")
    return reference
