"""Execute one point of a sweep: its plan, its run, and what happens if the run can't be started."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds, redaction
from amlexec.config import load as config
from amlexec.errors import AmlexecError, ConfigurationError
from amlexec.escaping import on_one_line
from amlexec.files import open_regular
from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.plan import plan
from amlexec.runs import submit as submission
from amlexec.runs.snapshot import TakenSnapshot
from amlexec.runs.withdraw import withdraw
from amlexec.sweeps.chooser import InOrder
from amlexec.sweeps.definition import SweepTarget, arguments_of
from amlexec.sweeps.recover import runs_of
from amlexec.targets.environment import ensure
from amlexec.targets.registry import runs_on
from amlexec.values import Plan, SweepPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.history.record import Run
    from amlexec.runs.submit import Begun
    from amlexec.runs.talk import Talk
    from amlexec.search.domains import Value
    from amlexec.search.space import Point
    from amlexec.sweeps.chooser import Chooser
    from amlexec.sweeps.definition import Definition
    from amlexec.sweeps.sweep import Sweep
    from amlexec.values import Declaration, Project

__all__ = [
    "AT_ONCE",
    "OpenTarget",
    "Silent",
    "begin",
    "hides",
    "is_for_arrays",
    "last_line",
    "left_by",
    "open_target",
    "plan_of",
    "prepared",
]

AT_ONCE = 1000
"""Runs at once in job arrays, without `--jobs`: the cluster decides."""
_TAIL = 1 << 14
_LONGEST = 200
"""In characters, of a line of a log in a message."""


class OpenTarget(NamedTuple):
    """A run configuration of a sweep, as it is now."""

    declaration: Declaration
    recorded: SweepTarget

    @property
    def name(self) -> str:
        """The name of the run configuration."""
        return self.recorded.configuration


class Silent:
    """A run's output goes into its logs only."""

    def say(self, line: str) -> None:
        """Nothing."""

    warn = say

    def stdout(self, chunk: bytes) -> None:
        """Nothing."""

    stderr = stdout


def is_for_arrays(targets: Sequence[OpenTarget], chooser: Chooser | None = None) -> bool:
    """Whether a sweep's points become job arrays: on one target that has them, in an order that is known.

    Several targets share the points one by one, and samplers learn from each result. Models go with each run
    by itself.
    """
    if len(targets) != 1 or not (chooser is None or isinstance(chooser, InOrder)):
        return False
    declaration = targets[0].declaration
    configuration = declaration.run_configuration
    if configuration.framework == "PySpark" or configuration.models:
        return False
    return kinds.of(declaration.compute_target.kind).has_many_runs


def prepared(
    project: Project,
    configuration: str,
    target: str,
    script: str,
    talk: Talk,
    *,
    prepare: bool,
) -> OpenTarget:
    """The run configuration of a new sweep, with its environment ready.

    Raises as `runs.submit.submit` does before it creates anything.
    """
    declaration = config.load(project, configuration, target)
    planned = plan(declaration, script, prepare=prepare, environment=os.environ)
    submission.script_in(project, planned.script, project.root)
    on = runs_on(planned.target, project)
    environment = ensure(planned, on.store(planned))
    for warning in (*planned.warnings, *on.check(planned, environment).warnings):
        talk.warn(warning)
    digest = environment.digest if environment is not None else ""
    recorded = SweepTarget(declaration.run_configuration.name, declaration.compute_target.name, digest)
    return OpenTarget(declaration, recorded)


def open_target(project: Project, recorded: SweepTarget, *, prepare: bool = False) -> OpenTarget:
    """The run configuration of a sweep that continues.

    Raises:
        ConfigurationError: its files have errors, or its environment is another one than at the beginning.
        TargetError: its environment is not ready.
    """
    declaration = config.load(project, recorded.configuration, recorded.target)
    planned = plan(
        declaration,
        "-",
        prepare=prepare,
        environment=os.environ,
        environment_digest=recorded.digest,
    )
    found = ensure(planned, runs_on(planned.target, project).store(planned))
    if found is not None and found.digest != recorded.digest:
        raise ConfigurationError(
            "the environment is another one than when the sweep began",
            where=str(declaration.run_configuration.place),
            hint="restore its dependencies, or begin a new sweep",
        )
    return OpenTarget(declaration, recorded)


def plan_of(definition: Definition, opened: OpenTarget, number: int, point: Point) -> Plan:
    """The plan of a point.

    Raises:
        UsageError: a variable that the run configuration names is not set.
    """
    planned = plan(
        opened.declaration,
        definition.script,
        arguments_of(definition, point),
        environment=os.environ,
        environment_digest=opened.recorded.digest,
    )
    variables = {
        "AMLEXEC_SWEEP_ID": definition.id,
        "AMLEXEC_TRIAL_NUMBER": str(number),
        **{name: value.text for name, value in map(_variable, point) if not redaction.is_secret(name)},
    }
    return planned._replace(
        tracked=True,  # without records there is no sweep
        environment_variables=(*planned.environment_variables, *variables.items()),
        sweep=SweepPoint(
            definition.id,
            number,
            {name: redaction.HIDDEN if hides(name) else value.value for name, value in point},
        ),
        warnings=(),
    )


def _variable(parameter: tuple[str, Value]) -> tuple[str, Value]:
    """The variable of a parameter. One that looks like a secret would be hidden wherever it is printed."""
    name, value = parameter
    return f"AZUREML_SWEEP_{re.sub('[^A-Za-z0-9_]', '_', name)}", value


def hides(name: str) -> bool:
    """Whether records hide the values of a parameter of this name, since it looks like a secret."""
    probe = "a value that nothing else has"
    return redaction.redacted_arguments((f"--{name}", probe), ())[1] != probe


def begin(sweep: Sweep, opened: OpenTarget, number: int) -> Begun:
    """Start the run of a point. Raises as `runs.submit.begin` does."""
    definition = sweep.definition
    planned = plan_of(definition, opened, number, sweep.point(number))
    taken = TakenSnapshot(definition.snapshot, definition.source)
    return submission.begin(planned, Silent(), taken=taken, quiet=True)


def left_by(sweep: Sweep, number: int) -> Run | None:
    """The run that remains after `begin` has failed: it may have begun. Any other is removed."""
    earlier = sweep.states[number].earlier
    for run_id in runs_of(sweep.project, sweep.definition.id).get(number, ()):
        if run_id in earlier:
            continue
        paths = RunPaths.of(sweep.project, run_id)
        try:
            if withdraw(sweep.project, paths):
                continue
        except (AmlexecError, OSError):
            pass  # only its target knows whether it has begun
        return folders.read(paths)
    return None


def last_line(log: Path) -> str:
    """The last line of a log that is not blank; "" if there is none."""
    try:
        with open_regular(log, follow=False) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((on_one_line(line.strip())[:_LONGEST] for line in reversed(lines) if line.strip()), "")
