"""The environments of a project's run configurations, looked at and made ready by whichever door is used.

Looking costs as little as it can: files that were not touched are not read, the engine is asked once for
all environments, and what only a preparation needs is not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec import config, preparation
from amlexec.environments import memory, stamps
from amlexec.environments.image import Shelf, reference
from amlexec.errors import ConfigurationError
from amlexec.preparation import Readiness

if TYPE_CHECKING:
    from amlexec.engine import Engine
    from amlexec.environments.removal import Removal
    from amlexec.model import ComputeTarget, Project, Violation
    from amlexec.preparation import Wanted
    from amlexec.progress import Progress

__all__ = ["YOURS", "Subject", "Upkeep", "subject"]

YOURS = "the environment of a local target is yours; nothing to prepare"


class Subject(NamedTuple):
    """What decides an environment: read once, so that all that follows is about the same thing."""

    name: str
    """Of the run configuration."""
    target: ComputeTarget
    dependencies_file: str
    notes: tuple[Violation, ...] = ()

    @property
    def is_yours(self) -> bool:
        """There is nothing to prepare."""
        return self.target.kind == "local"


def subject(project: Project, name: str, target: str = "") -> Subject:
    """What the files of a run configuration say; `target` stands for the file's Target.

    Raises:
        ConfigurationError: they are wrong.
        UsageError: there is no such run configuration or target, or nothing can be prepared on it yet.
    """
    declaration = config.load(project, name, target)
    configuration, found = declaration.run_configuration, declaration.compute_target
    if found.kind not in {"local", "docker"}:
        from amlexec.targets import runs_on

        runs_on(found, project)
    return Subject(configuration.name, found, configuration.conda_dependencies_file, declaration.notes)


class Upkeep:
    """The environments of a project on an engine, by default the one that the `docker` command would ask."""

    def __init__(self, project: Project, engine: Engine | None = None) -> None:
        self.project = project
        self._engine = engine
        self._shelf: Shelf | None = None

    @property
    def shelf(self) -> Shelf:
        """What the engine has. Raises TargetError where Docker's settings can't be read."""
        if self._shelf is None:
            from amlexec.engine import from_environment

            self._shelf = Shelf(self._engine or from_environment())
        return self._shelf

    def digest(self, one: Subject) -> str:
        """The digest of an environment; nobody is asked. Raises ConfigurationError."""
        return self._stamped(one) or self.wanted(one).digest

    def wanted(self, one: Subject) -> Wanted:
        """All of what the files say of an environment; nobody is asked. Raises ConfigurationError."""
        return preparation.wanted(self.project, one.name, one.target, one.dependencies_file)

    def expect(self, one: Subject) -> Readiness:
        """How an environment is as far as files and memory tell: nobody is asked, nothing is written.

        Raises:
            ConfigurationError: a file is wrong.
        """
        if one.is_yours:
            return Readiness(True, "", YOURS)
        last = memory.recall(self.project, one.name)
        stamped = self._stamped(one)
        want = None if stamped else self.wanted(one)
        digest = stamped if want is None else want.digest
        if last is not None and last.digest == digest and last.image_id:
            told = f"up to date: it was prepared as {reference(digest)}; the engine is asked when it is used"
            return Readiness(True, digest, told, last.image_id)
        return Readiness(False, digest, preparation.why_not(want or self.wanted(one)))

    def look(self, one: Subject) -> Readiness:
        """How an environment is: the engine is asked, once for all that are looked at.

        Raises:
            ConfigurationError: a file is wrong.
            EngineError: the engine can't be asked.
        """
        if one.is_yours:
            return Readiness(True, "", YOURS)
        digest = self._stamped(one)
        image = self.shelf.get(digest) if digest else None
        last = memory.recall(self.project, one.name) if image is not None else None
        if (
            image is not None
            and last is not None
            and (last.digest, last.image_id) == (digest, image.image_id)
        ):
            return preparation.ready(image)
        began = stamps.clock(self.project)
        want = self.wanted(one)
        found = preparation.readiness(want, self.shelf)
        if found.ready:
            self._keep(one, want, found, began)
        return found

    def prepare(
        self, one: Subject, progress: Progress, *, refresh: bool = False, pull_from: str = ""
    ) -> Readiness:
        """Make an environment ready if it isn't. Parameters and errors as of `preparation.prepare`."""
        found = self.look(one)
        if one.is_yours or (found.ready and not refresh):
            return found
        began = stamps.clock(self.project)
        want = self.wanted(one)
        found = preparation.prepare(want, self.shelf, progress, refresh=refresh, pull_from=pull_from)
        self._keep(one, want, found, began)
        return found

    def remove(self, name: str, *, dry_run: bool = False) -> list[Removal]:
        """Remove the environment of a run configuration from the engine: the one that its files declare,
        and the one that was prepared last. With `dry_run`, only tell.

        Raises:
            EngineError: the engine can't be asked.
        """
        from amlexec.environments import removal

        last = memory.recall(self.project, name)
        digests = {last.digest} if last is not None else set()
        try:
            one = subject(self.project, name)
            if not one.is_yours:
                digests.add(self.digest(one))
        except ConfigurationError:
            pass  # files that are wrong keep nobody from removing what was made of them before
        if not digests:
            return []
        told = removal.remove(self.shelf, digests, self.project.name, dry_run=dry_run)
        if not dry_run:
            memory.forget_images(self.project, {one for one in digests if self.shelf.get(one) is None})
        return told

    def _stamped(self, one: Subject) -> str:
        return stamps.recall(self.project, one.target, one.dependencies_file)

    def _keep(self, one: Subject, want: Wanted, found: Readiness, began: int) -> None:
        from amlexec.lockfile import path_of

        preparation.remember(want, found)
        files = (*want.order.spec.files, f"{self.project.root}/{path_of(one.dependencies_file)}")
        stamps.keep(self.project, one.target, one.dependencies_file, want.digest, files, began)
