"""The points of declared sweeps as doit tasks: up to date until something that they execute changes."""

from __future__ import annotations

import hashlib
import json
import os

from amlexec import doit_internals
from amlexec.commands import sweep_of_doit
from amlexec.doit_environment import task_name
from amlexec.errors import AmlexecError
from amlexec.escaping import visible
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from amlexec.prepare.project import ProjectEnvironments
    from amlexec.runs.snapshot import TakenSnapshot
    from amlexec.sweeps.definition import Definition
    from amlexec.values import Plan, Project

__all__ = ["DeclaredSweep", "declared", "execute_point", "tasks_of"]


class DeclaredSweep:
    """The sweep that a run configuration declares, for all tasks of its points."""

    def __init__(
        self, project: Project, name: str, definition: Definition, environments: ProjectEnvironments
    ) -> None:
        self.project, self.name, self.definition = project, name, definition
        self._environments = environments
        self._taken: TakenSnapshot | None = None
        self._process = 0

    def taken(self) -> TakenSnapshot:
        """The snapshot that all points execute; taken once for each process. Raises TargetError."""
        if self._taken is None or self._process != os.getpid():
            from amlexec.console import Console
            from amlexec.runs import snapshot

            self._taken, self._process = snapshot.take(self.project, Console()), os.getpid()
        return self._taken

    def plan(self, number: int, digest: str = "") -> Plan:
        """The plan of a point. `digest` is that of its prepared environment. Raises what its parts raise."""
        from amlexec.config import load as config
        from amlexec.sweeps import execute
        from amlexec.sweeps.definition import SweepTarget, points_of

        declaration = config.load(self.project, self.name)
        recorded = SweepTarget(self.name, declaration.compute_target.name, digest)
        points = points_of(self.definition)
        assert points is not None, "the section can't ask for Optuna"
        return execute.plan_of(
            self.definition, execute.OpenTarget(declaration, recorded), number, points[number - 1]
        )

    def digest(self, planned: Plan) -> str:
        """Of everything that the run of a point depends on: code, environment, arguments and variables."""
        environment = self._environments.ref(self.name).digest
        parts = [
            self.taken().snapshot.tree,
            environment,
            planned.target.name,
            planned.target.kind,
            planned.target.python_location,
            planned.framework,
            planned.script,
            planned.arguments,
            planned.environment_variables,
        ]
        return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()


class _PointState:
    """Whether a point is up to date, for doit; with the reason."""

    def __init__(self, sweep: DeclaredSweep, number: int) -> None:
        self._sweep, self._number = sweep, number
        self._why = "It was not executed yet."

    def words(self) -> str:
        """The reason for `doit info` if the point is not up to date."""
        return self._why

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Whether it has completed, and nothing has changed since; doit calls it."""
        if not values.get("point"):
            return False
        if not doit_internals.is_about_to_run(task):
            return True  # to find a change, a snapshot must be taken
        try:
            is_same: bool = values["point"] == self._sweep.digest(self._sweep.plan(self._number))
        except AmlexecError:
            return False  # the action raises it again
        self._why = "The code, the environment or an argument has changed."
        return is_same


def tasks_of(
    sweep: DeclaredSweep, action: Callable[..., Any], more: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """A task for each point of a sweep, and a group of them. `more` are further keys of each."""
    from amlexec.sweeps.definition import points_of
    from amlexec.sweeps.sweep import total

    name, points = task_name(sweep.name), points_of(sweep.definition)
    if points is None:
        return
    numbers = range(1, total(sweep.definition) + 1)
    yield {
        "basename": "sweep",
        "name": name,
        "doc": f"execute the points of {visible(sweep.name)}.runconfig that are not up to date",
        "actions": None,
        "task_dep": [f"sweep:{name}:{number}" for number in numbers],
    }
    for number in numbers:
        words = " ".join(f"{key}={value.text}" for key, value in points[number - 1])
        yield {
            "basename": "sweep",
            "name": f"{name}:{number}",
            "doc": visible(words).replace("\n", "\\n"),
            "actions": [(action, [sweep, number])],
            "uptodate": [_PointState(sweep, number)],
            # Pass the script's output through unchanged.
            "io": {"capture": False},
            **more,
        }


def execute_point(sweep: DeclaredSweep, number: int, digest: str = "") -> int | dict[str, str]:
    """Execute a point; an exit code, or the digest of what was executed, which doit saves.

    Raises:
        AmlexecError: the run did not complete.
    """
    from amlexec.commands import running
    from amlexec.console import Console
    from amlexec.runs import submit
    from amlexec.runs.follow import follow

    planned = sweep.plan(number, digest)
    talk = Console()
    begun = submit.begin(planned, talk, taken=sweep.taken())
    done = follow(sweep.project, begun.paths, begun.run, talk, end_pipe=begun.end_pipe, target=begun.target)
    return running.finish(sweep.project, done) or {"point": sweep.digest(sweep.plan(number))}


def declared(project: Project, name: str, environments: ProjectEnvironments) -> DeclaredSweep | None:
    """The sweep that a run configuration declares; None without one, or with errors, which lint reports."""
    definition = sweep_of_doit.definition_of(project, name)
    return None if definition is None else DeclaredSweep(project, name, definition, environments)
