"""The environments of a project's run configurations: look them up and prepare them, for amlexec and doit.

A lookup is cheap: unchanged files are not read, the engine is asked once for each environment, and modules
that only a build needs are not imported.
"""

from __future__ import annotations

from contextlib import suppress

from amlexec import kinds
from amlexec.config import load as config
from amlexec.environments import last_prepared, stat_cache
from amlexec.environments.stat_cache import Stamp
from amlexec.errors import CannotRunError, ConfigurationError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.prepare import prepare as preparation
from amlexec.prepare.prepare import Readiness
from amlexec.prepare.stores import store_of
from amlexec.values import ComputeTarget, Place

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore, Removal
    from amlexec.prepare.prepare import Wanted
    from amlexec.progress import Progress
    from amlexec.values import Declaration, Project, Violation

__all__ = ["EnvironmentRef", "ProjectEnvironments", "yours"]


def yours(kind: str) -> str:
    """The message that there is nothing to prepare on a target of that kind."""
    chosen = " with userManagedEnvironment: true" if kinds.of(kind).environment else ""
    return f"the environment of a {kind} target{chosen} is yours; nothing to prepare"


class EnvironmentRef(NamedTuple):
    """The environment of a run configuration, as its files declare it or as they were last read."""

    asked: str
    """The run configuration as the user typed it: a name, or a path."""
    name: str
    override: str
    """The target to use instead of the file's; "" for the file's."""
    target: str
    """The name of the compute target."""
    kind: str
    """The kind of the compute target."""
    digest: str
    notes: tuple[Violation, ...] = ()
    declaration: Declaration | None = None
    """None if the files are unchanged, and so were not read."""
    wanted: Wanted | None = None
    """None if the files were not read, or there is nothing to prepare."""
    began: int = 0
    """When reading began, see `stat_cache.clock`."""

    @property
    def is_yours(self) -> bool:
        """Whether the environment is the user's own: nothing to prepare."""
        return not self.digest


class ProjectEnvironments:
    """The environments of a project. Run configurations with the same environment share its lookup."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._stores: dict[str, EnvironmentStore] = {}

    def store(self, ref: EnvironmentRef) -> EnvironmentStore:
        """The store of an environment that amlexec prepares. No connections.

        Raises:
            ConfigurationError, TargetError: the settings with its address can't be read.
        """
        # All docker targets use the one engine that the `docker` command uses.
        is_local = kinds.of(ref.kind).on_local_engine
        which = "" if is_local else ref.target
        if which not in self._stores:
            if ref.declaration is not None:
                target = ref.declaration.compute_target
            elif is_local:
                target = ComputeTarget(ref.target, ref.kind, Place(""))
            else:
                target = config.load_target(self.project, ref.target)
            self._stores[which] = store_of(target)
        return self._stores[which]

    def ref(self, name: str, target: str = "", *, keep: bool = False) -> EnvironmentRef:
        """The environment that a run configuration's files declare; unchanged files are not read.

        No connections. With `keep`, the result may be cached once the environment is up to date.

        Raises:
            ConfigurationError: a file is wrong.
            UsageError: there is no such run configuration or target, or this version can't run on it.
        """
        stamp = None if target or "/" in name else stat_cache.recall(self.project, name)
        if stamp is not None:
            return EnvironmentRef(name, name, "", stamp.target, stamp.kind, stamp.digest)
        return self._read(name, target, keep=keep)

    def wanted(self, ref: EnvironmentRef) -> Wanted:
        """Everything that the files declare of an environment that amlexec prepares. Raises as `ref`."""
        want = ref.wanted or self._read(ref.asked, ref.override, keep=False).wanted
        assert want is not None, "there is something to prepare"
        return want

    def _read(self, name: str, target: str, *, keep: bool) -> EnvironmentRef:
        began = stat_cache.clock(self.project) if keep else 0
        declaration = config.load(self.project, name, target)
        configuration, found = declaration.run_configuration, declaration.compute_target
        kind, want = kinds.of(found.kind), None
        if kinds.is_prepared(found):
            file = configuration.conda_dependencies_file
            baked = configuration.framework == "PySpark" and kind.environment == kinds.IMAGE
            spark_file = configuration.spark_dependencies_file if baked else ""
            want = preparation.wanted(self.project, configuration.name, found, file, spark_file)
        elif not kind.module:
            raise CannotRunError(found.name, found.kind, str(found.place), kind.successor)
        digest = want.digest if want is not None else ""
        notes = declaration.notes
        named = (name, configuration.name, target, found.name, found.kind)
        return EnvironmentRef(*named, digest, notes, declaration, want, began)

    def expect(self, ref: EnvironmentRef) -> Readiness:
        """The readiness of an environment as files and cache show it: no connections, no writes.

        Raises:
            ConfigurationError: a file is wrong.
        """
        if ref.is_yours:
            return Readiness(True, "", yours(ref.kind))
        store, last = self.store(ref), last_prepared.recall(self.project, ref.name)
        if last is not None and last.digest == ref.digest and last.key:
            reason = f"up to date when last checked: {store.exists_message(ref.digest)}"
            return Readiness(True, ref.digest, reason, last.key)
        return Readiness(False, ref.digest, preparation.why_not(self.wanted(ref), store))

    def look(self, ref: EnvironmentRef) -> Readiness:
        """The readiness of an environment; asks the engine, once for all run configurations that share it.

        Raises:
            ConfigurationError: a file is wrong.
            EngineError: the engine can't be asked.
        """
        if ref.is_yours:
            return self._kept(ref, Readiness(True, "", yours(ref.kind)))
        store = self.store(ref)
        kept = store.get(ref.digest)
        if kept is not None and ref.wanted is None:
            last = last_prepared.recall(self.project, ref.name)
            if last is not None and (last.digest, last.key) == (ref.digest, kept.key):
                return preparation.ready(kept, f"up to date: {store.exists_message(kept.digest)}")
        if ref.wanted is None:
            ref = self._read(ref.asked, ref.override, keep=True)
        return self._kept(ref, preparation.readiness(self.wanted(ref), store))

    def reasons(self, ref: EnvironmentRef) -> list[str]:
        """Why an environment has to be built, a sentence each; [] if it is up to date. Raises as `look`."""
        if ref.is_yours or self.look(ref).ready:
            return []
        return preparation.reasons(self.wanted(ref), self.store(ref))

    def prepare(
        self,
        ref: EnvironmentRef,
        progress: Progress,
        *,
        refresh: bool = False,
        pull_from: str = "",
        forced: str = "",
    ) -> Readiness:
        """Build an environment if it is not up to date. See `preparation.prepare`."""
        found = self.look(ref)
        if ref.is_yours or (found.ready and not refresh and not forced):
            return found
        if ref.wanted is None:
            ref = self._read(ref.asked, ref.override, keep=True)
        want = self.wanted(ref)
        found = preparation.prepare(
            want, self.store(ref), progress, refresh=refresh, pull_from=pull_from, forced=forced
        )
        return self._kept(ref, found)

    def remove(self, name: str, *, dry_run: bool = False) -> list[Removal]:
        """Remove the environment of a run configuration from its target: the one that its files declare,
        and the one that was prepared last. With `dry_run`, only report.

        Raises:
            ConfigurationError: a file is wrong, and nothing is cached about the target.
            TargetError: the target can't be asked.
        """
        last = last_prepared.recall(self.project, name)
        ref = None
        # Wrong files must not prevent the removal of what was built from them before.
        with suppress(ConfigurationError):
            ref = self.ref(name)
        if ref is None and last is not None:
            ref = EnvironmentRef(name, name, "", last.target, last.kind, last.digest)
        if ref is None or ref.is_yours:
            return []
        store = self.store(ref)
        # The name may now mean another target, which has neither.
        digests = {ref.digest, *([last.digest] if last is not None else [])}
        removals = store.remove(digests, self.project.name, dry_run=dry_run)
        if not dry_run:
            gone = {digest for digest in digests if store.get(digest) is None}
            last_prepared.forget_removed(self.project, gone)
        return removals

    def _kept(self, ref: EnvironmentRef, found: Readiness) -> Readiness:
        """`found`, after caching it for the next lookup."""
        want = ref.wanted
        if want is not None and found.ready:
            preparation.remember(want, found)
        elif want is not None:
            preparation.note_gone(want)
        if not (found.ready and ref.began and ref.declaration) or ref.override or ref.notes:
            return found
        from amlexec.environments.lockfile import path_of

        configuration = ref.declaration.run_configuration
        paths = [
            str(configuration.place),
            f"{self.project.folder}/{ref.declaration.compute_target.name}.compute",
            configuration.spark_dependencies_file,
            configuration.conda_dependencies_file,
            path_of(configuration.conda_dependencies_file),
            *(want.request.spec.files if want is not None else ()),
        ]
        files = [path if path.startswith("/") else f"{self.project.root}/{path}" for path in paths]
        if files[0] == f"{self.project.configuration}/{ref.name}.runconfig":
            stat_cache.keep(self.project, ref.name, Stamp(ref.kind, ref.target, ref.digest), files, ref.began)
        return found
