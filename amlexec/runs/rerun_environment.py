"""The environment of a run that is repeated: the same one, built again from its lock, or what replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.environments import resolved_lock
from amlexec.errors import AmlexecError, ConfigurationError
from amlexec.images.labels import DEFAULT

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore, Installed
    from amlexec.history.record import Run
    from amlexec.prepare.prepare import Wanted
    from amlexec.progress import Progress
    from amlexec.runs.rerun_sources import Sources
    from amlexec.values import ComputeTarget, Declaration, RunConfiguration

__all__ = ["RepeatedEnvironment", "find"]

_MOST_MISSING = 5


class RepeatedEnvironment(NamedTuple):
    """The environment for a rerun."""

    digest: str
    wanted: Wanted | None = None
    """What to prepare; None if it exists."""
    differences: tuple[str, ...] = ()
    """How it differs from the run's, a sentence each."""


def find(
    run: Run,
    declaration: Declaration,
    store: EnvironmentStore,
    sources: Sources,
    progress: Progress,
) -> RepeatedEnvironment:
    """The environment for a rerun on the target of `declaration`. Builds nothing; may pull a base image.

    Raises:
        ConfigurationError: the snapshot's dependencies can't be read.
        TargetError: the target can't be asked.
    """
    kept = store.get(run.environment_digest) if run.environment_digest else None
    if kept is not None and _is_same(kept, run):
        return RepeatedEnvironment(kept.digest)
    configuration = sources.configuration(run, declaration)
    search = _Search(run, declaration.compute_target, configuration, store, sources, progress)
    if run.environment_digest is None:
        return search.anew(f"the run used a Python that amlexec had not prepared{_python(run)}")
    if run.environment_lock is None:
        return search.anew("no resolved lock of its environment was kept")
    text = resolved_lock.recall(sources.project, run.environment_lock)
    if text is None:
        return search.anew(f"its resolved lock {run.environment_lock[:12]} is no longer on this computer")
    return search.from_lock(text)


def _is_same(kept: Installed, run: Run) -> bool:
    """Whether this environment is the run's, and not one that was built again from newer packages."""
    if run.environment_lock is not None:
        return kept.lock == run.environment_lock
    return kept.key in {run.image_id, run.python.prefix if run.python else None}


def _python(run: Run) -> str:
    return f": {run.python.path} ({run.python.version})" if run.python else ""


class _Search(NamedTuple):
    run: Run
    target: ComputeTarget
    configuration: RunConfiguration
    store: EnvironmentStore
    sources: Sources
    progress: Progress

    @property
    def _has_image(self) -> bool:
        return kinds.of(self.target.kind).environment == kinds.IMAGE

    def _wanted(self, text: str, base: str = "") -> Wanted:
        """The environment of the snapshot's dependencies with that lock file beside them, or with none."""
        from amlexec.prepare import prepare as preparation

        configuration = self.configuration
        project = self.sources.with_lock(configuration.conda_dependencies_file, text)
        spark = configuration.spark_dependencies_file if configuration.framework == "PySpark" else ""
        name, file = configuration.name, configuration.conda_dependencies_file
        return preparation.wanted(project, name, self.target, file, spark, base=base)

    def anew(self, why: str) -> RepeatedEnvironment:
        """The environment that the dependencies of the snapshot come to today."""
        wanted = self._wanted("")
        file = self.configuration.conda_dependencies_file
        instead = f"{file} of its snapshot would be solved anew for {self.target.name}"
        return self._found(wanted, (f"{why}; {instead}",))

    def from_lock(self, text: str) -> RepeatedEnvironment:
        """The environment with exactly the packages of a resolved lock, else one that is solved anew."""
        base, differences = self._base(text)
        try:
            wanted = self._wanted(text, base)
        except ConfigurationError as error:
            return self.anew(f"its resolved lock can't be used: {error.message}")
        if self.store.get(wanted.digest) is None and (missing := self._missing(wanted)):
            shown = "; ".join(missing[:_MOST_MISSING])
            more = f"; and {len(missing) - _MOST_MISSING} more" if len(missing) > _MOST_MISSING else ""
            return self.anew(f"packages of its environment are gone: {shown}{more}")
        return self._found(wanted, differences)

    def _found(self, wanted: Wanted, differences: tuple[str, ...]) -> RepeatedEnvironment:
        is_ready = self.store.get(wanted.digest) is not None
        return RepeatedEnvironment(wanted.digest, None if is_ready else wanted, differences)

    def _base(self, text: str) -> tuple[str, tuple[str, ...]]:
        """The base image for the lock's packages, and how it differs from the run's."""
        origin = resolved_lock.origin(text)
        if not self._has_image or not origin.pinned:
            return "", ()
        if self.store.same_base(origin.pinned, self.target.where("baseDockerImage"), self.progress):
            return origin.pinned, ()
        instead = origin.declared or self.target.base_docker_image or DEFAULT
        was = f"its base image {origin.declared} is not available as it was ({origin.pinned})"
        return instead, (f"{was}; what {instead} is now would be used",)

    def _missing(self, wanted: Wanted) -> list[str]:
        from amlexec.environments.lockfile import resolution_from, set_name
        from amlexec.packages import availability, conda_solve
        from amlexec.packages.network import cache_folder, settings

        request, network = wanted.request, settings()
        assert request.lock is not None, "it was just written"
        try:
            channels = conda_solve.channels(request.project, request.dependencies, network)
            name = set_name(request.spec.platform, request.dependencies)
            resolution = resolution_from(request.lock, name, channels)
        except AmlexecError as error:
            return [error.message]
        return availability.missing(
            resolution, request.requirements, request.project.root, network, cache_folder()
        )
