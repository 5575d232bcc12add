"""The environments of a project's run configurations, looked at and made ready by whichever door is used.

Looking costs as little as it can: files that were not touched are not read, the engine is asked once for
each environment, and what only a preparation needs is not imported.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.config import load as config
from amlexec.environments import last_prepared, stat_cache
from amlexec.environments.stat_cache import Stamp
from amlexec.errors import CannotRunError, ConfigurationError
from amlexec.model import ComputeTarget, Place
from amlexec.prepare import prepare as preparation
from amlexec.prepare.prepare import Readiness
from amlexec.prepare.stores import store_of

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore, Removal
    from amlexec.model import Declaration, Project, Violation
    from amlexec.prepare.prepare import Wanted
    from amlexec.progress import Progress

__all__ = ["EnvironmentRef", "ProjectEnvironments", "yours"]


def yours(kind: str) -> str:
    """That there is nothing to prepare on a target of that kind."""
    chosen = " with userManagedEnvironment: true" if kinds.of(kind).environment else ""
    return f"the environment of a {kind} target{chosen} is yours; nothing to prepare"


class EnvironmentRef(NamedTuple):
    """What the files of a run configuration say of its environment."""

    asked: str
    """As the run configuration was asked for: a name, or a path."""
    name: str
    override: str
    """The target that stands for the file's; "" for the file's."""
    target: str
    """The name of the compute target."""
    kind: str
    """Of that."""
    digest: str
    notes: tuple[Violation, ...] = ()
    declaration: Declaration | None = None
    """None where the files were not read, since they are as they were."""
    wanted: Wanted | None = None
    """None where the files were not read, and where there is nothing to prepare."""
    began: int = 0
    """When reading began, see `stamps.clock`."""

    @property
    def is_yours(self) -> bool:
        """There is nothing to prepare."""
        return not self.digest


class ProjectEnvironments:
    """The environments of a project, each asked for once, however many run configurations have it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._stores: dict[str, EnvironmentStore] = {}

    def store(self, known: EnvironmentRef) -> EnvironmentStore:
        """The place that keeps an environment which is not the user's. Asks nobody.

        Raises:
            ConfigurationError, TargetError: what says where it is can't be read.
        """
        # All docker targets are on the one engine that the `docker` command would ask.
        is_local = kinds.of(known.kind).on_local_engine
        which = "" if is_local else known.target
        if which not in self._stores:
            if known.declaration is not None:
                target = known.declaration.compute_target
            elif is_local:
                target = ComputeTarget(known.target, known.kind, Place(""))
            else:
                target = config.load_target(self.project, known.target)
            self._stores[which] = store_of(target)
        return self._stores[which]

    def known(self, name: str, target: str = "", *, keep: bool = False) -> EnvironmentRef:
        """What a run configuration's files say; they are read if they were touched. Nobody is asked.

        With `keep`, what was read may be remembered once the environment is ready.

        Raises:
            ConfigurationError: they are wrong.
            UsageError: there is no such run configuration or target, or nothing can be prepared on it yet.
        """
        stamp = None if target or "/" in name else stat_cache.recall(self.project, name)
        if stamp is not None:
            return EnvironmentRef(name, name, "", stamp.target, stamp.kind, stamp.digest)
        return self._read(name, target, keep=keep)

    def wanted(self, known: EnvironmentRef) -> Wanted:
        """All that the files say of an environment, which is not a local one. Raises as `known`."""
        want = known.wanted or self._read(known.asked, known.override, keep=False).wanted
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
            raise CannotRunError(found.name, found.kind, str(found.place))
        digest = want.digest if want is not None else ""
        notes = declaration.notes
        named = (name, configuration.name, target, found.name, found.kind)
        return EnvironmentRef(*named, digest, notes, declaration, want, began)

    def expect(self, known: EnvironmentRef) -> Readiness:
        """How an environment is as far as files and memory tell: nobody is asked, nothing is written.

        Raises:
            ConfigurationError: a file is wrong.
        """
        if known.is_yours:
            return Readiness(True, "", yours(known.kind))
        store, last = self.store(known), last_prepared.recall(self.project, known.name)
        if last is not None and last.digest == known.digest and last.key:
            told = f"up to date when it was last looked at: {store.there(known.digest)}"
            return Readiness(True, known.digest, told, last.key)
        return Readiness(False, known.digest, preparation.why_not(self.wanted(known), store))

    def look(self, known: EnvironmentRef) -> Readiness:
        """How an environment is: the engine is asked, once for all run configurations that have it.

        Raises:
            ConfigurationError: a file is wrong.
            EngineError: the engine can't be asked.
        """
        if known.is_yours:
            return self._kept(known, Readiness(True, "", yours(known.kind)))
        store = self.store(known)
        kept = store.get(known.digest)
        if kept is not None and known.wanted is None:
            last = last_prepared.recall(self.project, known.name)
            if last is not None and (last.digest, last.key) == (known.digest, kept.key):
                return preparation.ready(kept, f"up to date: {store.there(kept.digest)}")
        if known.wanted is None:
            known = self._read(known.asked, known.override, keep=True)
        return self._kept(known, preparation.readiness(self.wanted(known), store))

    def reasons(self, known: EnvironmentRef) -> list[str]:
        """Why an environment has to be made, a sentence each; none where it is there. Raises as `look`."""
        if known.is_yours or self.look(known).ready:
            return []
        return preparation.reasons(self.wanted(known), self.store(known))

    def prepare(
        self,
        known: EnvironmentRef,
        progress: Progress,
        *,
        refresh: bool = False,
        pull_from: str = "",
        forced: str = "",
    ) -> Readiness:
        """Make an environment ready if it isn't. Parameters and errors as of `preparation.prepare`."""
        found = self.look(known)
        if known.is_yours or (found.ready and not refresh and not forced):
            return found
        if known.wanted is None:
            known = self._read(known.asked, known.override, keep=True)
        want = self.wanted(known)
        found = preparation.prepare(
            want, self.store(known), progress, refresh=refresh, pull_from=pull_from, forced=forced
        )
        return self._kept(known, found)

    def remove(self, name: str, *, dry_run: bool = False) -> list[Removal]:
        """Remove the environment of a run configuration from its target: the one that its files declare,
        and the one that was prepared last. With `dry_run`, only tell.

        Raises:
            ConfigurationError: a file is wrong, and nobody knows where something was prepared.
            TargetError: the target can't be asked.
        """
        last = last_prepared.recall(self.project, name)
        known = None
        # Files that are wrong keep nobody from removing what was made of them before.
        with suppress(ConfigurationError):
            known = self.known(name)
        if known is None and last is not None:
            known = EnvironmentRef(name, name, "", last.target, last.kind, last.digest)
        if known is None or known.is_yours:
            return []
        store = self.store(known)
        # On another target that has the name by now, there is nothing of it.
        digests = {known.digest, *([last.digest] if last is not None else [])}
        told = store.remove(digests, self.project.name, dry_run=dry_run)
        if not dry_run:
            last_prepared.forget_removed(self.project, {one for one in digests if store.get(one) is None})
        return told

    def _kept(self, known: EnvironmentRef, found: Readiness) -> Readiness:
        """What was found, remembered for the next time."""
        want = known.wanted
        if want is not None and found.ready:
            preparation.remember(want, found)
        elif want is not None:
            preparation.note_gone(want)
        if not (found.ready and known.began and known.declaration) or known.override or known.notes:
            return found
        from amlexec.environments.lockfile import path_of

        configuration = known.declaration.run_configuration
        paths = [
            str(configuration.place),
            f"{self.project.folder}/{known.declaration.compute_target.name}.compute",
            configuration.spark_dependencies_file,
            configuration.conda_dependencies_file,
            path_of(configuration.conda_dependencies_file),
            *(want.request.spec.files if want is not None else ()),
        ]
        files = [path if path.startswith("/") else f"{self.project.root}/{path}" for path in paths]
        if files[0] == f"{self.project.configuration}/{known.name}.runconfig":
            stat_cache.keep(
                self.project, known.name, Stamp(known.kind, known.target, known.digest), files, known.began
            )
        return found
