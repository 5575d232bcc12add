"""The runs on a machine over SSH, submitted by any user from any computer: only the login is needed.

A run's folder on the machine has the record that it was submitted with, and its supervisor writes its state.
On an engine, the record is a label of the run's container, and the engine reports the state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, cast

from amlexec import kinds
from amlexec.config import load as config
from amlexec.errors import TargetError, UsageError
from amlexec.history import folders, order, record, record_checks
from amlexec.history.find import chosen
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.runs import lifecycle
from amlexec.targets.registry import runs_on

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.targets.docker import DockerTarget
    from amlexec.targets.ssh import SSHTarget
    from amlexec.values import Project

__all__ = ["RemoteRuns"]


class RunListing(NamedTuple):
    """The runs on a machine."""

    runs: list[Run]
    """With their current status, newest first. Their metrics and outputs have not been read."""
    problems: list[TargetError]
    """One for each folder that can't be read as a run."""


class RemoteRuns:
    """The runs on a compute target."""

    def __init__(self, project: Project, name: str) -> None:
        """No connections.

        Raises:
            ConfigurationError: there is no such compute target.
            UsageError: its kind does not list its runs.
        """
        declared = config.load_target(project, name)
        if not kinds.of(declared.kind).lists_runs:
            from amlexec.config.messages import either

            machines = either(kind.name for kind in kinds.KINDS if kind.lists_runs)
            raise UsageError(
                f"{name} is of type {declared.kind}: only the submitting computer knows its runs",
                where=str(declared.place),
                hint=f"--from names a machine over SSH, of type {machines}",
            )
        self.name, self._kind = declared.name, kinds.of(declared.kind)
        self._project = project
        self._began: dict[str, float] = {}
        """Starts of the listed runs, all by the machine's clock."""
        self._target: SSHTarget | DockerTarget = runs_on(declared, project)  # type: ignore[assignment]

    def list(self, *, everything: bool = False) -> RunListing:
        """The runs of this project on the machine; with `everything`, also those of other projects.

        Raises as `Target.state` does.
        """
        return self._listed("" if everything else f"{folders.project_part(self._project)}_", everything)

    def _listed(self, start: str, everything: bool) -> RunListing:
        ours = folders.project_part(self._project)
        found, problems = [], []
        for run_id, state, text in self._target.records(start):
            if not everything and run_id.rpartition("_")[0] != ours:
                continue
            if not record.is_run_id(run_id):
                problems.append(
                    TargetError(
                        f"the name of a run's folder is not a run id: {run_id[:80]!r}", where=self.name
                    )
                )
                continue
            try:
                if not text:
                    raise ValueError("an earlier version started the run and wrote none")  # noqa: TRY301
                recorded = record_checks.parsed(text, run_id)
            except ValueError as error:
                problems.append(
                    TargetError(f"the record of the run {run_id} can't be read: {error}", where=self.name)
                )
                continue
            if kinds.of(recorded.target_kind).on_remote_engine is not self._kind.on_remote_engine:
                continue  # it runs on the machine's engine, which reports its state
            recorded = recorded._replace(target=self.name)
            if state is not None and state.began is not None:
                self._began[run_id] = state.began
            if state is None:
                problems.append(TargetError(f"the state of the run {run_id} can't be read", where=self.name))
            found.append(recorded if state is None else lifecycle.with_state(recorded, state))
        found.sort(key=lambda run: (run.created_utc, run.run_id), reverse=True)
        return RunListing(found, problems)

    def find(self, reference: str) -> Run:
        """The run with that id; for runs of this project, a prefix of the id or `last` is enough.

        Raises:
            UsageError: no run matches, or several do.
        """
        if reference == "last":
            runs = self.list().runs
            if not runs:
                raise UsageError(f"there are no runs of this project on {self.name}")
            # By the machine's clock: clocks of submitting computers may differ.
            return max(runs, key=lambda run: (self._began.get(run.run_id, math.inf), run.created_utc))
        # A whole id may belong to another project.
        whole = order.milliseconds(reference) > 0
        # List only runs that match; if there are none, list all, to suggest similar ids.
        matches = self._listed(reference, whole).runs if reference and "/" not in reference else []
        runs = matches or self.list(everything=whole).runs
        by_id = {run.run_id: run for run in runs}
        hint = f"amlexec history list --from {self.name} shows its runs"
        return by_id[chosen(sorted(by_id), reference, hint)]

    def adopt(self, run: Run) -> RunPaths:
        """Record the run in this project, like a run that was submitted here; its paths."""
        # Its end is recorded when its outputs were collected.
        status = run.status if run.status not in FINAL else "Starting"
        paths = folders.adopt(
            self._project, run._replace(status=status, reason="", end_time_utc=None, exit_code=None)
        )
        if self._kind.on_remote_engine and paths.returned.exists():
            cast("DockerTarget", self._target).adopted(paths)
        return paths

    def stop(self, run: Run, grace: int) -> Run:
        """Stop a run; the run with its new status. Raises as `Target.stop` does."""
        # Clusters need the record to stop a run, and engines the run's folder with the container's id.
        paths = RunPaths.of(self._project, run.run_id) if self._kind.stops_by_id else self.adopt(run)
        return lifecycle.with_state(run, self._target.stop(paths, grace))

    def remove(self, run: Run) -> None:
        """Remove everything of the run from the machine.

        Raises:
            UsageError: the run has not ended.
        """
        if run.status not in FINAL:
            raise UsageError(
                f"the run {run.run_id} is {run.status}",
                hint=f"cancel it first: amlexec experiment cancel -r {run.run_id} --from {self.name}",
            )
        self._target.forget(run.run_id)
