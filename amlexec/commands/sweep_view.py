"""A sweep for readers: its state, its points and its best point, as JSON, tables and lines."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from amlexec.commands import fitting, output
from amlexec.escaping import on_one_line
from amlexec.history.record import FINAL
from amlexec.sweeps import store, sweep
from amlexec.sweeps.definition import points_of

if TYPE_CHECKING:
    from amlexec.search.space import Point
    from amlexec.sweeps.definition import Definition
    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.store import SweepPaths

__all__ = ["counts", "describe", "ending", "listing", "points_table", "summary", "words"]


def words(point: Point) -> str:
    """The parameters of a point on one line: `lr=0.1 depth=3`."""
    return on_one_line(" ".join(f"{name}={shlex.quote(value.text)}" for name, value in point))


def counts(definition: Definition, states: dict[int, PointState]) -> dict[str, int]:
    """The number of points by status; points that were stopped early are `Stopped`."""
    found = Counter(
        "Stopped" if state.is_stopped and state.is_over else state.status for state in states.values()
    )
    found["Pending"] += sweep.total(definition) - len(states)
    found["Running"] += found.pop("Starting", 0)
    order = ("Completed", "Failed", "Stopped", "Canceled", "Lost", "Running", "Queued", "Pending")
    return {status: found[status] for status in order if found[status]}


def state_of(paths: SweepPaths, definition: Definition, states: dict[int, PointState]) -> str:
    """`running`, `finished`, or `stopped`: then it can be resumed."""
    if store.is_running(paths):
        return "running"
    over = sum(state.is_over for state in states.values())
    return "finished" if over >= sweep.total(definition) else "stopped"


def summary(paths: SweepPaths, definition: Definition, states: dict[int, PointState]) -> dict[str, Any]:
    """The JSON of a sweep without its points."""
    best = sweep.best(definition, states)
    completed = [state for state in states.values() if state.status == "Completed"]
    has_metric = bool(definition.metric)
    return {
        "sweep_id": definition.id,
        "state": state_of(paths, definition, states),
        "created_utc": definition.created_utc,
        "run_configurations": [target.configuration for target in definition.targets],
        "script_name": definition.script,
        "search": definition.search,
        "seed": definition.seed if definition.search in {"random", "optuna"} else None,
        "metric": definition.metric or None,
        "goal": definition.goal or None,
        "total": sweep.total(definition),
        "counts": counts(definition, states),
        "no_metric": sum(state.metric is None for state in completed) if has_metric else 0,
        "not_a_number": sum(
            state.metric is not None and sweep.number_of(state.metric) is None for state in completed
        ),
        "best": None
        if best is None
        else {"number": best.number, "metric": best.value, "run_id": best.state.run_id},
    }


def describe(paths: SweepPaths, definition: Definition, states: dict[int, PointState]) -> dict[str, Any]:
    """The JSON of a sweep with its points. Points that are not chosen yet are missing."""
    points = points_of(definition)
    rows = []
    for number in range(1, sweep.total(definition) + 1):
        state = states.get(number)
        point = state.point if state is not None and state.point is not None else None
        if point is None and points is not None:
            point = points[number - 1]
        if point is not None:
            rows.append(_row(number, point, state))
    return {**summary(paths, definition, states), "points": rows}


def _row(number: int, point: Point, state: PointState | None) -> dict[str, Any]:
    return {
        "number": number,
        "parameters": {name: value.value for name, value in point},
        "status": "Pending" if state is None else state.status,
        "stopped_early": state is not None and state.is_stopped,
        "reason": "" if state is None else state.reason,
        "metric": None if state is None else state.metric,
        "run_id": (state.run_id if state else "") or None,
        "run_configuration": (state.configuration if state else "") or None,
        "duration_s": None if state is None else state.duration_s,
    }


def points_table(found: dict[str, Any], width: int) -> str:
    """The points of `describe` as a table of at most `width` columns; 0 for any width."""
    rows = found["points"]
    names = list(dict.fromkeys(name for row in rows for name in row["parameters"]))
    columns = [
        fitting.Column("Point", [row["number"] for row in rows]),
        *(fitting.Column(name, [row["parameters"].get(name) for row in rows], 1) for name in names),
        fitting.Column("Status", ["Stopped" if row["stopped_early"] else row["status"] for row in rows]),
    ]
    if found["metric"]:
        columns.append(fitting.Column(found["metric"], [_metric(row) for row in rows], 1))
    columns += [
        fitting.Column("Seconds", [_rounded(row["duration_s"]) for row in rows], 3),
        fitting.Column("Run", [row["run_id"] for row in rows], 2, whole=True),
    ]
    if len(found["run_configurations"]) > 1:
        columns.append(fitting.Column("With", [row["run_configuration"] for row in rows], 4))
    return fitting.fitted(columns, width)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _metric(row: dict[str, Any]) -> object:
    return "no metric" if row["status"] == "Completed" and row["metric"] is None else row["metric"]


def listing(found: list[dict[str, Any]]) -> str:
    """Sweeps as a table, newest first."""
    rows = [
        [
            row["sweep_id"],
            row["state"],
            f"{_over(row['counts'])}/{row['total']}",
            row["script_name"],
            ",".join(row["run_configurations"]),
            row["created_utc"][:19].replace("T", " "),
            row["metric"],
            row["best"] and row["best"]["metric"],
        ]
        for row in found
    ]
    return output.table(rows, ["Sweep", "State", "Points", "Script", "With", "Created", "Metric", "Best"])


def _over(by_status: dict[str, int]) -> int:
    return sum(number for status, number in by_status.items() if status in {*FINAL, "Stopped"})


def ending(paths: SweepPaths, definition: Definition, states: dict[int, PointState]) -> list[str]:
    """The lines at the end of a sweep: what became of the points, and the best one."""
    found = summary(paths, definition, states)
    by_status = ", ".join(f"{number} {status}" for status, number in found["counts"].items())
    lines = [f"Sweep: {definition.id}", f"Points: {found['total']}: {by_status}"]
    if not definition.metric:
        return lines
    best = sweep.best(definition, states)
    name = on_one_line(definition.metric)
    if best is None:
        lines.append(f"Best: no completed point has a number as {name}")
    else:
        points = points_of(definition)
        point = best.state.point or (points[best.number - 1] if points is not None else ())
        value = output.cell(best.value)
        lines.append(f"Best: point {best.number}, {name} {value}: {words(point)} (run {best.state.run_id})")
    if found["no_metric"]:
        lines.append(f"No metric: {found['no_metric']} completed without {name}")
    if found["not_a_number"]:
        lines.append(f"Not a number: {found['not_a_number']} completed with NaN or an infinite {name}")
    return lines
