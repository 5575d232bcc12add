"""Making the image of an environment: base image, conda layer, pip section; named once its Python has run."""

from __future__ import annotations

import contextlib
import tempfile
from typing import IO, TYPE_CHECKING

from amlexec import digest as content
from amlexec.docker import images
from amlexec.environments import base, image, maven, pip_section, pip_there, removal, trial
from amlexec.environments.fetching_there import conda_layer, is_elsewhere
from amlexec.environments.image import PREFIX
from amlexec.environments.order import Built
from amlexec.environments.turns import sweep, turn
from amlexec.environments.worker import Worker
from amlexec.errors import TargetError
from amlexec.owner import owner_of
from amlexec.packages import conda_install, conda_solve, scratch, stable_tar
from amlexec.packages.network import cache_folder, settings
from amlexec.packages.resolve import Resolution
from amlexec.packages.urls import is_loopback, public
from amlexec.progress import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rattler import RepoDataRecord

    from amlexec.docker.client import Engine
    from amlexec.environments.log import Log
    from amlexec.environments.order import Order
    from amlexec.packages.network import Network
    from amlexec.progress import Progress

__all__ = ["COMPILE", "archived", "build", "resolved"]

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
            os.utime(os.path.join(at, name), ({stable_tar.EPOCH}, {stable_tar.EPOCH}))
    os.utime(at, ({stable_tar.EPOCH}, {stable_tar.EPOCH}))
"""


def build(engine: Engine, order: Order, progress: Progress, log: Log) -> Built:
    """Make the image of an environment.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: something could not be fetched, or did not work inside the image.
    """
    sweep(engine, order.digest)
    removal.drop_unnamed(engine, order.digest, owner_of(order.project))
    network = settings()
    if elsewhere := is_elsewhere(engine):
        base.must_fit(engine, order.spec.platform)
    found = base.ensure(engine, order.spec.base_image, order.base_place, progress)
    base.must_be_for(found, order.spec.platform, order.spec.base_image, order.base_place)
    base.must_keep(found, PREFIX, order.spec.base_image, order.base_place)
    resolution = resolved(order, network, progress)
    records = resolution.records
    as_machine = pip_section.needs_this_machine(order, network) or maven.needs_this_machine(order)
    # What can't be reached from there is said before anything is made.
    inside = _as_seen_from(engine, order, resolution, network) if elsewhere else network
    layer = _conda_layer(engine, order, found, records, network, progress, log)
    variables = {"PATH": f"{PREFIX}/bin:{found.path}", "CONDA_PREFIX": PREFIX}
    labels = {
        image.DIGEST: order.digest,
        image.PROJECT: order.project.name,
        image.OWNER: owner_of(order.project),
        image.RECIPE: str(order.spec.recipe),
        image.BASE: found.pinned,
        image.PYTHON: resolution.python,
        image.PLATFORM: order.spec.platform.subdir,
        image.CONDA: "",
    }
    with Worker(engine, layer, order.digest, as_machine=as_machine and not elsewhere) as worker:
        installed: list[tuple[str, str]] = []
        if pip_section.is_wanted(order):
            progress.step("installing the pip section")
            installed = pip_section.install(worker, order, resolution, inside, log)
        if order.spec.spark:
            progress.step("fetching the Maven packages")
            from amlexec.environments import maven_baking

            maven_baking.bake(worker, order, inside, variables, log)
        made = worker.commit("", labels, variables)
    progress.step("trying its Python")
    trial.publish(engine, made, order.digest, order.spec.base_image, str(order.base_place))
    packages = tuple(
        (record.name.source, str(record.version), str(record.build), public(record.url)) for record in records
    )
    return Built(made, found.pinned, resolution.python, packages, tuple(installed))


def _as_seen_from(engine: Engine, order: Order, resolution: Resolution, network: Network) -> Network:
    """The network without what is on the loopback of this machine, for an engine on another one.

    Raises:
        ConfigurationError: the pip section needs an index that is there.
    """
    if pip_section.is_wanted(order):
        pip_there.must_be_reachable(order, resolution, network, engine.address)
    proxies = tuple((name, value) for name, value in network.proxies if not is_loopback(value))
    return network._replace(proxies=proxies)


def resolved(order: Order, network: Network, progress: Progress) -> Resolution:
    """What the order comes to: what its lock file says, else what is solved now (pip resolves for itself).

    Raises:
        ConfigurationError: the dependencies can't be fulfilled, or the lock file is damaged.
        TargetError: a channel can't be reached.
    """
    platform = order.spec.platform
    if order.lock is not None:
        from amlexec.environments import lockfile

        sources = conda_solve.channels(order.project, order.dependencies, network)
        return lockfile.resolution_from(order.lock, platform, sources)
    if not network.verifies_channels:
        progress.step("conda's ssl_verify is false: whoever answers for a channel is believed")
    progress.step("solving the conda section")
    records = conda_solve.solve(order.project, order.dependencies, platform, network, cache=cache_folder())
    return Resolution(tuple(records))


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
            [
                order.spec.recipe,
                found.image_id,
                # Without logins: a new password is no new package.
                [[public(one.url), (one.sha256 or b"").hex()] for one in records],
            ]
        )
    )
    if (known := images.find(engine, {image.CONDA: what})) and not order.anew:
        log.line(f"the conda layer is there: {known[0]['Id']}")
        return str(known[0]["Id"])
    with turn(engine, what, "makes the same conda layer", progress):
        if (known := images.find(engine, {image.CONDA: what})) and not order.anew:
            return str(known[0]["Id"])
        sweep(engine, what)
        if is_elsewhere(engine):
            made = conda_layer(engine, order, found, what, records, network, COMPILE, progress, log)
            if made is not None:
                return made
            progress.step(
                "no channel has a Python that could install there: the packages are installed here, and sent"
            )
        with archived(order, records, network, progress, log) as archive:
            progress.step(f"copying them onto {order.spec.base_image}")
            with Worker(engine, found.image_id, what) as worker:
                worker.put(archive)
                worker.start(order.spec.base_image, str(order.base_place))
                code = worker.run([f"{PREFIX}/bin/python", "-I", "-c", COMPILE], log.write)
                if code != 0:
                    raise TargetError(f"Python's modules could not be compiled: exit code {code}")
                labels = image.of_layer(what, order.project)
                return worker.commit(image.reference(what, "conda"), labels, {})


@contextlib.contextmanager
def archived(
    order: Order, records: Sequence[RepoDataRecord], network: Network, progress: Progress, log: Log
) -> Iterator[IO[bytes]]:
    """The conda packages as a tar archive that is unpacked at the root; a file that is gone afterwards."""
    cache = cache_folder()
    with scratch.room(cache) as folder:
        progress.step(f"installing {counted(records)}")
        conda_install.install(
            records,
            folder / "env",
            PREFIX,
            order.spec.platform,
            network,
            cache=cache,
            progress=progress.at,
        )
        with tempfile.TemporaryFile(dir=folder) as archive:
            files = stable_tar.write(str(folder / "env"), PREFIX, archive)
            log.line(f"{files} files, {archive.tell()} bytes")
            archive.seek(0)
            yield archive
