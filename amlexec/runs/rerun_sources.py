"""The files of a recorded snapshot, written out only if a rerun has to read them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from amlexec.config import load as config
from amlexec.errors import ConfigurationError, TargetError
from amlexec.files import write_atomically

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from amlexec.history.record import Run
    from amlexec.values import Declaration, Project, RunConfiguration

__all__ = ["Sources"]


class Sources:
    """A temporary copy of the snapshot `tree` of a project, removed at the end of the `with` block."""

    def __init__(self, project: Project, tree: str) -> None:
        """No I/O."""
        self._project, self._tree = project, tree
        self._room = ExitStack()
        self._folder = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.close()

    @property
    def project(self) -> Project:
        """The project as it was; its state is that of the user's project.

        The copy is not below the project: there, ignore rules of the user's own repository would apply to it.

        Raises:
            TargetError: the snapshot does not exist or is damaged; the disk is full.
        """
        from pathlib import Path

        if not self._folder:
            from amlexec.packages import scratch
            from amlexec.packages.network import cache_folder
            from amlexec.snapshots import read as snapshots

            room = self._room.enter_context(scratch.room(cache_folder()))
            snapshots.checkout(self._project, self._tree, room / "project")
            self._folder = str((room / "project").resolve())
        root = self._folder
        folder = "aml_config" if Path(root, "aml_config").is_dir() else self._project.folder
        return self._project._replace(root=root, folder=folder, home=self._project.place)

    def configuration(self, run: Run, now: Declaration) -> RunConfiguration:
        """The run configuration of the run as it was, which names the dependencies; else as it is now."""
        try:
            found = config.load(self.project, run.run_configuration, run.target).run_configuration
        except ConfigurationError:
            found = now.run_configuration
        return found._replace(framework=run.framework)

    def with_lock(self, dependencies_file: str, text: str) -> Project:
        """The project with this lock file beside its dependencies; with "", without any.

        Raises:
            TargetError: the dependencies file is not in the snapshot, so nothing is written beside it.
        """
        from pathlib import Path

        from amlexec.environments import lockfile

        project = self.project
        path = Path(project.root, lockfile.path_of(dependencies_file))
        if not path.parent.resolve().is_relative_to(project.root):
            raise TargetError(
                f"the run's dependencies can't be read again: {dependencies_file} is outside of the project",
                hint="a run can be repeated if its CondaDependenciesFile is in the project",
            )
        path.unlink(missing_ok=True)
        if text and path.parent.is_dir():
            write_atomically(path, text, durable=False)
        return project
