"""Runs that are on a machine over SSH, whoever submitted them and from wherever: all it takes is the login.

A run's folder there has the record that it was submitted with; how the run is, its supervisor has written.
On an engine, the record is a label of the run's container, and the engine says how it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, cast

from amlexec import kinds
from amlexec.config import load as config
from amlexec.errors import TargetError, UsageError
from amlexec.history import folders, order, record
from amlexec.history.find import chosen
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.runs import lifecycle
from amlexec.targets.registry import runs_on

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.model import Project
    from amlexec.targets.docker import DockerTarget
    from amlexec.targets.ssh import SSHTarget

__all__ = ["RemoteRuns"]


class Listing(NamedTuple):
    """The runs that are on a machine."""

    runs: list[Run]
    """As they are now, newest first. Their metrics and outputs have not been read."""
    problems: list[TargetError]
    """One for each folder that is no readable run."""


class RemoteRuns:
    """A compute target, as the place where runs are."""

    def __init__(self, project: Project, name: str) -> None:
        """Nobody is asked yet.

        Raises:
            ConfigurationError: there is no such compute target.
            UsageError: it is of a kind whose runs are known only where they were submitted.
        """
        declared = config.load_target(project, name)
        if not kinds.of(declared.kind).lists_runs:
            from amlexec.config.messages import either

            machines = either(kind.name for kind in kinds.KINDS if kind.lists_runs)
            raise UsageError(
                f"{name} is of type {declared.kind}: its runs are known only where they were submitted",
                where=str(declared.place),
                hint=f"--from names a machine over SSH, of type {machines}",
            )
        self.name, self._kind = declared.name, kinds.of(declared.kind)
        self._project = project
        self._began: dict[str, float] = {}
        """When runs that were listed began, all by one clock."""
        self._target: SSHTarget | DockerTarget = runs_on(declared, project)  # type: ignore[assignment]

    def list(self, *, everything: bool = False) -> Listing:
        """The runs of this project that are there; with `everything`, those of others too.

        Raises as `Target.state` does.
        """
        return self._listed("" if everything else f"{folders.project_part(self._project)}_", everything)

    def _listed(self, start: str, everything: bool) -> Listing:
        ours = folders.project_part(self._project)
        found, problems = [], []
        for run_id, state, text in self._target.records(start):
            if not everything and run_id.rpartition("_")[0] != ours:
                continue
            if not record.is_run_id(run_id):
                problems.append(
                    TargetError(
                        f"a folder there has a name that is no run id: {run_id[:80]!r}", where=self.name
                    )
                )
                continue
            try:
                if not text:
                    raise ValueError("an earlier version has begun it, and left none")  # noqa: TRY301
                recorded = record.parsed(text, run_id)
            except ValueError as error:
                problems.append(
                    TargetError(f"the record of the run {run_id} can't be read: {error}", where=self.name)
                )
                continue
            if kinds.of(recorded.target_kind).on_remote_engine is not self._kind.on_remote_engine:
                continue  # of those, only a folder is there: the engine knows how they are
            recorded = recorded._replace(target=self.name)
            if state is not None and state.began is not None:
                self._began[run_id] = state.began
            if state is None:
                problems.append(TargetError(f"the state of the run {run_id} can't be read", where=self.name))
            found.append(recorded if state is None else lifecycle.seen(recorded, state))
        found.sort(key=lambda run: (run.created_utc, run.run_id), reverse=True)
        return Listing(found, problems)

    def find(self, reference: str) -> Run:
        """The run that is meant: by its whole id, or by what names one of this project's.

        Raises:
            UsageError: no run, or several, are meant.
        """
        if reference == "last":
            there = self.list().runs
            if not there:
                raise UsageError(f"there are no runs of this project on {self.name}")
            # By its machine's clock: those who submitted them may have several.
            return max(there, key=lambda run: (self._began.get(run.run_id, math.inf), run.created_utc))
        # A run whose whole id is given may be of another project.
        whole = order.milliseconds(reference) > 0
        # Only those that can be meant are asked how they are; where there are none, what is near is offered.
        meant = self._listed(reference, whole).runs if reference and "/" not in reference else []
        there = meant or self.list(everything=whole).runs
        by_id = {run.run_id: run for run in there}
        hint = f"amlexec history list --from {self.name} shows those that are there"
        return by_id[chosen(sorted(by_id), reference, hint)]

    def bring(self, run: Run) -> RunPaths:
        """The paths of the run here, where from now on it is a run like those of this project's own."""
        # How it ended is written when it has been brought home.
        status = run.status if run.status not in FINAL else "Starting"
        paths = folders.adopt(
            self._project, run._replace(status=status, reason="", end_time_utc=None, exit_code=None)
        )
        if self._kind.on_remote_engine and paths.returned.exists():
            cast("DockerTarget", self._target).adopted(paths)
        return paths

    def stop(self, run: Run, grace: int) -> Run:
        """Stop a run; how it is then. Raises as `Target.stop` does."""
        # What a cluster has to be told stands in the record; which container it is, in the run's folder.
        paths = RunPaths.of(self._project, run.run_id) if self._kind.stops_by_id else self.bring(run)
        return lifecycle.seen(run, self._target.stop(paths, grace))

    def remove(self, run: Run) -> None:
        """Remove all that the run has left there.

        Raises:
            UsageError: it is not over.
        """
        if run.status not in FINAL:
            raise UsageError(
                f"the run {run.run_id} is {run.status}",
                hint=f"cancel it first: amlexec experiment cancel -r {run.run_id} --from {self.name}",
            )
        self._target.forget(run.run_id)
