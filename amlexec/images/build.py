"""Build the image of an environment: base image, conda layer, pip section; tagged once its Python has run."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

from amlexec.docker import labels
from amlexec.docker.client import import_ahead
from amlexec.environments import pip_files, resolved_lock
from amlexec.environments.build_context import BuildContext
from amlexec.environments.request import BuildResult
from amlexec.environments.resolve import resolved
from amlexec.images import base_image, pip_install, remove, trial
from amlexec.images.build_container import BuildContainer
from amlexec.images.build_lock import sweep
from amlexec.images.conda_layer import conda_layer, is_elsewhere
from amlexec.images.labels import LOCK_FILE, PREFIX
from amlexec.owner import owner_of
from amlexec.packages import stable_tar
from amlexec.packages.network import settings
from amlexec.packages.urls import is_loopback
from amlexec.spark import maven
from amlexec.tar import Tar

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.pip_pins import Pin
    from amlexec.progress import Progress

__all__ = ["build"]


def build(engine: Engine, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
    """Build the image of an environment.

    Raises:
        ConfigurationError: the dependencies are unsolvable.
        TargetError: a download or a step inside the image failed.
    """
    import_ahead()  # until the dependencies are solved, the engine is asked nothing that needs docker-py
    network = settings()
    if elsewhere := is_elsewhere(engine):
        base_image.must_fit(engine, request.spec.platform)
    base = base_image.ensure(engine, request.spec.base_image, request.base_place, progress)
    base_image.must_be_for(base, request.spec.platform, request.spec.base_image, request.base_place)
    base_image.must_keep(base, PREFIX, request.spec.base_image, request.base_place)
    resolution = resolved(request, network, progress)
    sweep(engine, request.digest)
    remove.drop_unnamed(engine, request.digest, owner_of(request.project))
    context = BuildContext(request, resolution, network, progress, log)
    as_machine = pip_install.needs_this_machine(request, network) or (
        bool(request.spec.spark) and maven.needs_this_machine(request.spark)
    )
    # First: report what the engine's machine can't reach before anything is built.
    inside = _as_seen_from(engine, context) if elsewhere else context
    layer = conda_layer(engine, base, context)
    variables = {"PATH": f"{PREFIX}/bin:{base.path}", "CONDA_PREFIX": PREFIX}
    written = {
        labels.DIGEST: request.digest,
        labels.PROJECT: request.project.name,
        labels.OWNER: owner_of(request.project),
        labels.RECIPE: str(request.spec.recipe),
        labels.BASE: base.pinned,
        labels.PYTHON: resolution.python,
        labels.PLATFORM: request.spec.platform.subdir,
        labels.CONDA: "",
    }
    with BuildContainer(engine, layer, request.digest, as_machine=as_machine and not elsewhere) as builder:
        installed: list[tuple[str, str]] = []
        pins: tuple[Pin, ...] | None = ()
        if pip_files.is_wanted(request):
            progress.step("installing the pip section")
            installed, pins = pip_install.install(builder, inside)
        if request.spec.spark:
            progress.step("downloading the Maven packages")
            from amlexec.images import maven_layer

            maven_layer.bake(builder, inside, variables)
        lock = resolved_lock.text_of(context, pins, base.pinned)
        if lock:
            builder.put(_archived(lock))
        written[labels.LOCK] = resolved_lock.name_of(lock)
        image_id = builder.commit("", written, variables)
        progress.step("testing its Python")
        with builder.removed_aside():
            trial.publish(engine, image_id, request.digest, request.spec.base_image, str(request.base_place))
    return BuildResult(image_id, base.pinned, resolution.python, resolution.conda, tuple(installed), lock)


def _archived(lock: str) -> bytes:
    """A tar archive of the resolved lock, to unpack at the root."""
    data, written = lock.encode(), io.BytesIO()
    entry: Any = tarfile.TarInfo(LOCK_FILE.lstrip("/"))
    entry.size, entry.mode, entry.mtime = len(data), 0o644, stable_tar.EPOCH
    folder: Any = tarfile.TarInfo(entry.name.rpartition("/")[0])
    # With the folder, whose time the file would change: the layer is the same on every engine.
    folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, stable_tar.EPOCH
    with Tar.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(folder)
        archive.addfile(entry, io.BytesIO(data))
    return written.getvalue()


def _as_seen_from(engine: Engine, context: BuildContext) -> BuildContext:
    """The context for an engine on another machine: without proxies on this machine's loopback.

    Raises:
        ConfigurationError: the pip section needs an index on this machine's loopback.
    """
    if pip_files.is_wanted(context.request):
        pip_files.must_be_reachable(context, engine.address)
    proxies = tuple((name, value) for name, value in context.network.proxies if not is_loopback(value))
    return context._replace(network=context.network._replace(proxies=proxies))
