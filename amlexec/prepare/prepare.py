"""PREPARE: whether an environment is up to date on its target, why not, and the build."""

from __future__ import annotations

from amlexec import in_use, kinds
from amlexec.config import load as config
from amlexec.environments import last_prepared
from amlexec.images.labels import DEFAULT
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from amlexec.dependencies import CondaDependencies
    from amlexec.environments.request import BuildRequest, BuildResult
    from amlexec.environments.store import EnvironmentStore, Installed
    from amlexec.packages.requirements import Requirements
    from amlexec.progress import Progress
    from amlexec.values import ComputeTarget, Project

__all__ = [
    "Readiness",
    "Wanted",
    "dependencies_of",
    "note_gone",
    "prepare",
    "readiness",
    "ready",
    "reasons",
    "remember",
    "wanted",
    "why_not",
]

_NEVER = "it was never prepared here"


class Wanted(NamedTuple):
    """The environment of a run configuration, as its files declare it."""

    project: Project
    configuration: str
    target: ComputeTarget
    digest: str
    canonical: str
    request: BuildRequest


class Readiness(NamedTuple):
    """Whether an environment is up to date."""

    ready: bool
    digest: str
    reason: str
    """A sentence: why it is not up to date, or why it is."""
    key: str = ""
    """An image's id, or a folder's path; "" if there is none."""
    python: str = ""
    """Version of its Python."""
    platform: str = ""
    lock: str = ""
    """The name of its resolved lock; "" if it has none."""


def dependencies_of(
    project: Project, target: ComputeTarget, conda_file: str, spark_file: str = ""
) -> tuple[CondaDependencies, Requirements]:
    """The dependencies of an environment, with what its base image lacks; and its pip section, read.

    `spark_file` is the Spark dependencies file if the framework is PySpark, else "". Raises like `wanted`.
    """
    from amlexec.environments.spec import requirements_of

    dependencies = config.load_conda(project, conda_file)
    # Only the local engine mounts `/azureml-share/`.
    shared = target.shared_folder(project) if kinds.of(target.kind).on_local_engine else ""
    found = requirements_of(project, dependencies, shared=shared)
    is_image = kinds.of(target.kind).environment == kinds.IMAGE
    if spark_file and is_image and (target.base_docker_image.strip() or DEFAULT) == DEFAULT:
        from amlexec.spark import default_packages

        spark = config.find_spark(project, spark_file)
        dependencies = default_packages.added(dependencies, found, spark, target.where("baseDockerImage"))
    return dependencies, found


def wanted(
    project: Project,
    configuration: str,
    target: ComputeTarget,
    conda_file: str,
    spark_file: str = "",
    *,
    base: str = "",
) -> Wanted:
    """The environment that the files declare, with its digest. Solves nothing; no connections.

    `spark_file` is the Spark dependencies file if the framework is PySpark, else "". `base` is the image that
    stands for the target's base image, if another reference does.

    Raises:
        ConfigurationError: a file is wrong, or one of its references is.
    """
    from amlexec.digest import of_bytes
    from amlexec.environments import lockfile
    from amlexec.environments.request import BuildRequest
    from amlexec.environments.spec import canonical, spec_of
    from amlexec.packages.platforms import of_target

    dependencies, found = dependencies_of(project, target, conda_file, spark_file)
    lock = lockfile.read(project, conda_file)
    base = base or target.base_docker_image or DEFAULT
    spec = spec_of(
        project,
        "" if kinds.of(target.kind).environment == kinds.PREFIX else base,
        dependencies,
        of_target(target),
        lock=lock,
        base_place=target.where("baseDockerImage"),
        pip=found,
    )
    request = BuildRequest(project, spec, "", dependencies, found, target.where("baseDockerImage"), lock)
    # Only an image contains the Maven packages: on a machine, Spark downloads them itself.
    if spark_file and request.spec.base_image:
        request = _with_packages(request, spark_file)
    text = canonical(request.spec).decode()
    digest = of_bytes(text.encode())
    return Wanted(project, configuration, target, digest, text, request._replace(digest=digest))


def _with_packages(request: BuildRequest, spark_file: str) -> BuildRequest:
    """The request with the Maven packages of a Spark dependencies file."""
    from amlexec.spark import maven

    declared = config.find_spark(request.project, spark_file)
    value = maven.value(request.project, declared)
    if not value:
        return request
    spec = request.spec._replace(
        spark=value,
        places=(*request.spec.places, (("spark", ""), declared.place)),
        files=(*request.spec.files, *maven.files(request.project, declared)),
    )
    return request._replace(spec=spec, spark=declared)


def readiness(want: Wanted, store: EnvironmentStore) -> Readiness:
    """Whether the environment is up to date: one small request, or none if the answer is cached.

    Raises:
        TargetError: the target can't be asked.
    """
    kept = store.get(want.digest)
    if kept is not None:
        return ready(kept, f"up to date: {store.exists_message(kept.digest)}")
    return Readiness(False, want.digest, why_not(want, store))


def ready(kept: Installed, reason: str) -> Readiness:
    """The readiness of an environment that exists."""
    return Readiness(True, kept.digest, reason, kept.key, kept.python, kept.platform, kept.lock)


def why_not(want: Wanted, store: EnvironmentStore) -> str:
    """Why a missing environment has to be built, in one sentence. No connections."""
    first, *more = reasons(want, store)
    return f"{first} … and {len(more)} more" if more else first


def reasons(want: Wanted, store: EnvironmentStore) -> list[str]:
    """Every reason to build a missing environment, a sentence each. No connections."""
    last = last_prepared.recall(want.project, want.configuration)
    if last is None:
        return [_NEVER]
    if last.digest == want.digest:
        return [store.missing_message()]
    from amlexec.environments.explain import explain_all

    return explain_all(last.canonical, want.canonical, want.request.spec.places) or [_NEVER]


def prepare(
    want: Wanted,
    store: EnvironmentStore,
    progress: Progress,
    *,
    refresh: bool = False,
    pull_from: str = "",
    forced: str = "",
    is_last: bool = True,
) -> Readiness:
    """Build the environment if it is not up to date.

    A second process that needs the same environment waits for the first. With `refresh`, it is also rebuilt
    if its base image has moved. `pull_from`, as `REGISTRY/REPOSITORY`, is the repository to try to pull it
    from before it is built. `forced` is the option that forces a rebuild; "" if none does. With `is_last`, it
    is recorded as the last environment of its run configuration.

    Raises:
        ConfigurationError: the dependencies are unsolvable.
        TargetError: the build failed, or the published environment is not what it claims to be.
    """
    with in_use.claimed(want.project):  # until it is remembered, nothing names the environment
        found = _prepared(want, store, progress, refresh=refresh, pull_from=pull_from, forced=forced)
        if is_last:
            remember(want, found)
        return found


def _prepared(
    want: Wanted,
    store: EnvironmentStore,
    progress: Progress,
    *,
    refresh: bool,
    pull_from: str,
    forced: str,
) -> Readiness:
    found = readiness(want, store)
    kept = store.get(want.digest)
    if kept is not None and refresh:
        reason = store.moved(kept, want.request, progress)
        same = f"{found.reason}, built on its newest base image" if kept.base else found.reason
        found = found._replace(ready=not reason, reason=reason or same)
    if kept is not None and forced:
        found = found._replace(ready=False, reason=f"{forced} was given")
        want = want._replace(request=want.request._replace(from_scratch=True))
    if found.ready:
        return found
    progress.step(f"{want.configuration}: {found.reason}")
    with store.locked(want.digest, progress):
        store.forget()
        again = readiness(want, store)
        if not again.ready or again.key == found.key:
            again = _made(want, store, progress, found, pull_from)
    return again


def _made(
    want: Wanted, store: EnvironmentStore, progress: Progress, old: Readiness, pull_from: str
) -> Readiness:
    """The environment, pulled or built; `old` has the reason, and the key that it replaces, if any."""
    from amlexec.environments.build_log import BuildLog

    built: BuildResult | None = None
    # Two machines may get the same environment at the same time.
    name = want.digest if kinds.of(want.target.kind).on_local_engine else f"{want.digest}-{want.target.name}"
    with BuildLog(last_prepared.folder(want.project) / f"{name}.log") as log:
        log.line(f"{want.configuration}: {old.reason}")
        if pull_from and not old.key:
            done, built = "pulled", store.pull(want.request, pull_from, progress, log)
        if built is None:
            done, built = "prepared", store.build(want.request, progress, log)
    last_prepared.keep_packages(want.project, want.digest, built)
    if built.lock:
        from amlexec.environments import resolved_lock

        resolved_lock.keep(want.project, built.lock)
    store.forget()
    kept = store.get(want.digest)
    assert kept is not None, "it was just published"
    if old.key and old.key != kept.key:
        store.replaced(old.key)
    return ready(kept, f"{done} for the first time" if old.reason == _NEVER else f"{done}: {old.reason}")


def note_gone(want: Wanted) -> None:
    """Record that an environment no longer exists, so that offline answers say so too."""
    last = last_prepared.recall(want.project, want.configuration)
    if last is not None and last.key and (last.digest, last.target) == (want.digest, want.target.name):
        last_prepared.remember(want.project, want.configuration, last._replace(key=""))


def remember(want: Wanted, found: Readiness) -> None:
    """Record the environment that a run configuration has now, and why it was built."""
    last = last_prepared.recall(want.project, want.configuration)
    if last is None or (last.digest, last.key, last.target) != (want.digest, found.key, want.target.name):
        now = last_prepared.LastPrepared(
            want.digest, want.canonical, found.key, found.reason, want.target.name, want.target.kind
        )
        last_prepared.remember(want.project, want.configuration, now)
