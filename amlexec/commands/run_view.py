"""A run as its readers see it: the flat JSON that Workbench's history had, rows of a list, a comparison."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.commands.fitting import Column
from amlexec.commands.output import cell, title
from amlexec.history.record import without_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from amlexec.history.record import Run

__all__ = ["Row", "comparison", "duration", "flat", "flattened", "listing"]


def flat(
    run: Run,
    *,
    number: int | None,
    attachments: Iterable[str],
    project: str,
    now: datetime,
    unreachable: bool = False,
) -> dict[str, Any]:
    """The JSON of a run, with the keys that Workbench's history had, and ours after them.

    `number` is its place among the runs of the project, the oldest being 1. Metrics have a key of their own.
    Of a run that is `unreachable`, the status is the one that was read last.
    """
    run = without_series(run)
    return {
        "run_id": run.run_id,
        "run_number": number,
        "status": run.status,
        "unreachable": unreachable,
        "reason": run.reason,
        "exit_code": run.exit_code,
        "script_name": run.script_name,
        "arguments": list(run.arguments),
        "target": run.target,
        "run_configuration": run.run_configuration,
        "metrics": run.metrics,
        "metric_counts": run.metric_counts,
        "unread": list(run.unread),
        "attachments": ",".join(attachments),
        "created_utc": run.created_utc,
        "start_time_utc": run.start_time_utc,
        "end_time_utc": run.end_time_utc,
        "duration": duration(run, now),
        "description": None,
        "experiment_id": project,
        "heartbeat_enabled": False,
        "hidden": False,
        "name": None,
        "parent_run_id": None,
        "properties": {"CommitId": run.snapshot.tree} if run.snapshot else {},
        "user_id": run.user_id,
        "host": run.host,
        "framework": run.framework,
        "target_kind": run.target_kind,
        "tracked": run.tracked,
        "argv": None if run.argv is None else list(run.argv),
        "environment_variables": run.environment_variables,
        "python": run.python and run.python._asdict(),
        "platform": run.platform,
        "snapshot": run.snapshot and run.snapshot._asdict(),
        "source": run.source and run.source._asdict(),
        "environment_digest": run.environment_digest,
        "image_id": run.image_id,
        "outputs": run.outputs and run.outputs._asdict(),
        "not_collected": [one._asdict() for one in run.not_collected],
        "amlexec": run.amlexec,
        "executors": run.executors and [one._asdict() for one in run.executors],
    }


def flattened(view: Mapping[str, Any]) -> dict[str, Any]:
    """`view` with each metric beside the other keys too, where its name is free, as Workbench had them."""
    return {**view, **{name: value for name, value in view["metrics"].items() if name not in view}}


def duration(run: Run, now: datetime) -> str | None:
    """How long the script ran, as `0:00:04.892389`; until `now` where it still runs; None if it never did."""
    began = _moment(run.start_time_utc)
    ended = now if run.status == "Running" else _moment(run.end_time_utc)
    if began is None or ended is None:
        return None
    # A clock that was set back makes no run shorter than nothing.
    whole = max(ended - began, timedelta(0))
    minutes, seconds = divmod(whole // timedelta(seconds=1), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{whole.microseconds:06}"


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:  # a record that somebody has edited
        return None


def listing(views: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of a list of runs: what they are, and one for every metric, under its own name."""
    ranks = {"run_id": 0, "script_name": 3, "target": 4, "status": 0, "start_time_utc": 6, "duration": 5}
    columns = []
    for key, rank in ranks.items():
        values = [_cell(view, key) for view in views]
        short = _SHORT.get(key)
        columns.append(Column(title(key), values, rank, short and short(values), whole=short is not None))
    names = dict.fromkeys(name for view in views for name in view["metrics"])
    for at, name in enumerate(names):
        # The first few are what one looks for; others come after what the run is.
        rank = 1 if at < _FIRST_METRICS else 7
        columns.append(
            Column(
                name,
                [_last(view, name) for view in views],
                rank,
                [view["metrics"].get(name) for view in views],
            )
        )
    return columns


_FIRST_METRICS = 2
_SHORT: dict[str, Callable[[list[Any]], list[Any]]] = {
    # 2026-01-31T12:00Z and 0:01:02: what tells runs apart stands in their ids.
    "start_time_utc": lambda values: [one and f"{one[:16]}Z" for one in values],
    "duration": lambda values: [one and one.partition(".")[0] for one in values],
}


def _cell(view: Mapping[str, Any], key: str) -> object:
    if key == "status" and view["unreachable"]:
        return f"{view[key]}, unreachable"
    return _seconds(view[key]) if key == "start_time_utc" else view[key]


def _seconds(moment: str | None) -> str | None:
    return None if moment is None else f"{moment.partition('.')[0].rstrip('Z')}Z"


def _last(view: Mapping[str, Any], name: str) -> object:
    """The last value of a metric, and of how many it is."""
    value, count = view["metrics"].get(name), view["metric_counts"].get(name, 1)
    return value if count < 2 else f"{cell(value)} (last of {count})"


class Row(NamedTuple):
    """One thing about several runs."""

    key: str
    values: list[Any]
    differs: bool


_COMPARED = (
    "status",
    "exit_code",
    "run_configuration",
    "target",
    "target_kind",
    "framework",
    "script_name",
    "arguments",
    "environment_variables",
    "python",
    "platform",
    "environment_digest",
    "image_id",
    "snapshot",
    "source",
    "user_id",
    "host",
    "start_time_utc",
    "duration",
    "metrics",
)


def comparison(views: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What the runs are and where they differ, a row for each thing that at least one of them has."""
    rows: list[Row] = []
    for key in _COMPARED:
        values = [view[key] for view in views]
        if any(isinstance(value, dict) for value in values):
            within = [value or {} for value in values]
            names = dict.fromkeys(name for value in within for name in value)
            rows += [_row(f"{key}.{name}", [value.get(name) for value in within]) for name in names]
        elif any(value not in (None, [], {}, "") for value in values):
            rows.append(_row(key, values))
    return rows


def _row(key: str, values: list[Any]) -> Row:
    return Row(key, values, any(value != values[0] for value in values))
