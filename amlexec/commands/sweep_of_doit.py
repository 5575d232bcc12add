"""Sweeps that doit executes, as `amlexec sweep` shows them: doit has their state, the runs have the results.

They have no journal: each point is a task of its own, perhaps of several processes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import AmlexecError, UsageError
from amlexec.sweeps.journal import PointState
from amlexec.sweeps.store import SweepPaths

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.search.space import Point
    from amlexec.sweeps.definition import Definition
    from amlexec.values import Project

__all__ = ["PREFIX", "OfDoit", "all_of", "definition_of", "must_have_process", "named"]

PREFIX = "doit-"
"""Ids of these sweeps begin with it; the name of their run configuration follows."""


class OfDoit(NamedTuple):
    """A sweep, and what its runs tell about its points."""

    paths: SweepPaths
    """Of a folder that does not exist."""
    definition: Definition
    """As the run configuration declares it now."""
    states: dict[int, PointState]


def definition_of(project: Project, name: str) -> Definition | None:
    """The sweep that a run configuration declares; None without one, or with errors, which lint reports."""
    from amlexec.commands import sweep_draft

    try:
        definition = sweep_draft.declared(project, name)
    except AmlexecError:
        return None
    short = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:50]
    return None if definition is None else definition._replace(id=f"{PREFIX}{short}")


def all_of(project: Project) -> list[OfDoit]:
    """The declared sweeps of which a point was executed. Those with errors are left out."""
    from amlexec.config import load as config

    found = []
    for name in config.run_configurations(project):
        definition = definition_of(project, name)
        if definition is not None and (states := _states(project, definition)):
            paths = SweepPaths(Path(project.state, "sweeps", definition.id))
            found.append(OfDoit(paths, definition, states))
    return found


def named(project: Project, reference: str) -> OfDoit | None:
    """The sweep with that id; None if it is not the id of one of these.

    Raises:
        UsageError: no run configuration declares it, or none of its points was executed.
    """
    if not reference.startswith(PREFIX):
        return None
    for sweep in all_of(project):
        if sweep.definition.id == reference:
            return sweep
    name = reference.removeprefix(PREFIX)
    raise UsageError(
        f"there is no sweep {reference!r}: no point of it was executed", hint=f"execute it: doit sweep:{name}"
    )


def must_have_process(reference: str) -> None:
    """Raise UsageError for one of these sweeps: only doit starts and ends its points."""
    if reference.startswith(PREFIX):
        raise UsageError(
            f"doit executes {reference}, and no process of amlexec",
            hint="press Ctrl-C where doit runs; amlexec experiment cancel -r RUN cancels one run",
        )


def _states(project: Project, definition: Definition) -> dict[int, PointState]:
    """The states of the points, by their last runs. A run with other parameters is of an earlier sweep."""
    from amlexec.history import folders
    from amlexec.history.paths import RunPaths
    from amlexec.sweeps.definition import points_of
    from amlexec.sweeps.recover import runs_of
    from amlexec.sweeps.sweep import total

    points = points_of(definition)
    found: dict[int, PointState] = {}
    if points is None:
        return found
    for number, run_ids in runs_of(project, definition.id).items():
        for run_id in reversed(run_ids):
            try:
                run = folders.read(RunPaths.of(project, run_id))
            except AmlexecError:
                continue
            if number <= total(definition) and _is_of(run, points[number - 1]):
                found[number] = _state(run, definition.metric)
                break
    return found


def _is_of(run: Run, point: Point) -> bool:
    from amlexec import redaction
    from amlexec.sweeps.execute import hides

    wanted = {name: redaction.HIDDEN if hides(name) else value.value for name, value in point}
    return run.sweep is not None and dict(run.sweep.parameters) == wanted


def _state(run: Run, metric: str) -> PointState:
    from amlexec.history.record import FINAL
    from amlexec.sweeps.sweep import metric_of, seconds_of

    status = run.status if run.status in FINAL else "Running"
    value = metric_of(run, metric)
    seconds = seconds_of(run)
    return PointState(status, run.run_configuration, run.run_id, run.reason, value, duration_s=seconds)
