"""Making the image of an environment: base image, conda layer, pip section; named once its Python has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.docker import labels
from amlexec.environments import pip_files
from amlexec.environments.build_context import BuildContext
from amlexec.environments.request import BuildResult
from amlexec.environments.resolve import resolved
from amlexec.images import base_image, pip_install, remove, trial
from amlexec.images.build_container import BuildContainer
from amlexec.images.build_lock import sweep
from amlexec.images.conda_layer import conda_layer, is_elsewhere
from amlexec.images.labels import PREFIX
from amlexec.owner import owner_of
from amlexec.packages.network import settings
from amlexec.packages.urls import is_loopback
from amlexec.spark import maven

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.progress import Progress

__all__ = ["build"]


def build(engine: Engine, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
    """Make the image of an environment.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: something could not be fetched, or did not work inside the image.
    """
    sweep(engine, request.digest)
    remove.drop_unnamed(engine, request.digest, owner_of(request.project))
    network = settings()
    if elsewhere := is_elsewhere(engine):
        base_image.must_fit(engine, request.spec.platform)
    base = base_image.ensure(engine, request.spec.base_image, request.base_place, progress)
    base_image.must_be_for(base, request.spec.platform, request.spec.base_image, request.base_place)
    base_image.must_keep(base, PREFIX, request.spec.base_image, request.base_place)
    resolution = resolved(request, network, progress)
    context = BuildContext(request, resolution, network, progress, log)
    as_machine = pip_install.needs_this_machine(request, network) or (
        bool(request.spec.spark) and maven.needs_this_machine(request.spark)
    )
    # What can't be reached from there is said before anything is made.
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
        if pip_files.is_wanted(request):
            progress.step("installing the pip section")
            installed = pip_install.install(builder, inside)
        if request.spec.spark:
            progress.step("fetching the Maven packages")
            from amlexec.images import maven_layer

            maven_layer.bake(builder, inside, variables)
        made = builder.commit("", written, variables)
    progress.step("trying its Python")
    trial.publish(engine, made, request.digest, request.spec.base_image, str(request.base_place))
    return BuildResult(made, base.pinned, resolution.python, resolution.conda, tuple(installed))


def _as_seen_from(engine: Engine, context: BuildContext) -> BuildContext:
    """The network is without what is on the loopback of this machine, for an engine on another one.

    Raises:
        ConfigurationError: the pip section needs an index that is there.
    """
    if pip_files.is_wanted(context.request):
        pip_files.must_be_reachable(context, engine.address)
    proxies = tuple((name, value) for name, value in context.network.proxies if not is_loopback(value))
    return context._replace(network=context.network._replace(proxies=proxies))
