"""Views of a run: flat JSON as in Workbench's history, columns of a list, a comparison."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.commands.fitting import Column
from amlexec.commands.output import cell, title
from amlexec.history.listing import BROKEN
from amlexec.history.params import parameters, typed
from amlexec.history.record import Run, without_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["PropertyRow", "comparison", "duration", "flat", "flattened", "listing"]


def flat(
    run: Run,
    *,
    number: int | None,
    attachments: Iterable[str],
    project: str,
    now: datetime,
    unreachable: bool = False,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> dict[str, Any]:
    """The JSON of a run, with the keys of Workbench's history, followed by amlexec's own.

    `number` counts the runs of the project; the oldest is 1. Metrics are an object under their own key.
    The status of an `unreachable` run is the last known one. The note is Workbench's description.
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
        "tags": dict(tags or {}),
        "unread": list(run.unread),
        "attachments": ",".join(attachments),
        "created_utc": run.created_utc,
        "start_time_utc": run.start_time_utc,
        "end_time_utc": run.end_time_utc,
        "duration": duration(run, now),
        "description": note or None,
        "experiment_id": project,
        "heartbeat_enabled": False,
        "hidden": False,
        "name": None,
        "parent_run_id": None,
        "rerun_of": run.rerun_of,
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
        "environment_lock": run.environment_lock,
        "image_id": run.image_id,
        "outputs": run.outputs and run.outputs._asdict(),
        "not_collected": [output._asdict() for output in run.not_collected],
        "sweep": run.sweep and run.sweep._asdict(),
        "models": run.models,
        "amlexec": run.amlexec,
        "executors": run.executors and [executor._asdict() for executor in run.executors],
    }


_EMPTY: dict[str, Any] = {
    **dict.fromkeys(Run._fields),
    **dict.fromkeys(("arguments", "unread", "not_collected"), ()),
    **{key: {} for key in ("environment_variables", "metrics", "metric_counts", "models")},
}


def broken(name: str, reason: str, *, number: int | None, project: str) -> dict[str, Any]:
    """The JSON of what can't be read as a run: the same keys, without values."""
    run = Run(**_EMPTY | {"run_id": name, "status": BROKEN, "reason": reason})
    return flat(run, number=number, attachments=(), project=project, now=datetime.now(timezone.utc))


def flattened(view: Mapping[str, Any]) -> dict[str, Any]:
    """`view` with each metric also at the top level, unless its name is taken, as in Workbench."""
    return {**view, **{name: value for name, value in view["metrics"].items() if name not in view}}


def duration(run: Run, now: datetime) -> str | None:
    """The script's running time, as `0:00:04.892389`; until `now` if it still runs; None if it never ran."""
    began = _moment(run.start_time_utc)
    ended = now if run.status == "Running" else _moment(run.end_time_utc)
    if began is None or ended is None:
        return None
    # Not negative, even if a clock was set back.
    whole = max(ended - began, timedelta(0))
    minutes, seconds = divmod(whole // timedelta(seconds=1), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{whole.microseconds:06}"


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:  # an edited record
        return None


def listing(views: Iterable[Mapping[str, Any]]) -> list[Column]:
    """The columns of a list of runs, and one for each metric. Only what they show is kept of each run."""
    properties: dict[str, list[Any]] = {key: [] for key in _RANKS}
    metrics: dict[str, tuple[list[Any], list[Any]]] = {}
    tags: list[str | None] = []
    texts: dict[Any, Any] = {}
    for count, view in enumerate(views):
        for key, values in properties.items():
            value = _cell(view, key)
            values.append(texts.setdefault(value, value) if key in _REPEATED else value)
        for name in view["metrics"]:
            if name not in metrics:
                metrics[name] = [None] * count, [None] * count
        for name, (lasts, shorts) in metrics.items():
            value, text = _last(view, name)
            lasts.append(text)
            shorts.append(value)
        tags.append(", ".join(map(_tag, view["tags"].items())) or None)
    if BROKEN not in properties["status"]:
        del properties["reason"]
    if not any(properties["sweep"]):
        del properties["sweep"]
    columns = []
    for key, values in properties.items():
        short = _SHORT.get(key)
        columns.append(
            Column(
                title(key),
                values,
                _RANKS[key],
                short and short(values),
                whole=short is not None,
                least=_LEAST.get(key, 8),
            )
        )
    # The first few metrics matter most; the others rank below the run's properties.
    columns += [
        Column(name, lasts, 1 if at < _FIRST_METRICS else 7, shorts)
        for at, (name, (lasts, shorts)) in enumerate(metrics.items())
    ]
    if any(tags):
        columns.append(Column("Tags", tags, 2))
    return columns


def _tag(tag: tuple[str, str]) -> str:
    return "=".join(tag) if tag[1] else tag[0]


_RANKS = {
    "run_id": 0,
    "script_name": 3,
    "target": 4,
    "status": 0,
    "start_time_utc": 6,
    "duration": 5,
    "reason": 1,
    "sweep": 4,
}
_LEAST = {"reason": 30}
"""Widths below which a text says nothing."""
_REPEATED = frozenset({"script_name", "target", "status", "sweep"})
"""Texts that many runs have in common: one is kept."""
_FIRST_METRICS = 2
_SHORT: dict[str, Callable[[list[Any]], list[Any]]] = {
    # 2026-01-31T12:00Z and 0:01:02: the ids distinguish the runs.
    "start_time_utc": lambda values: [value and f"{value[:16]}Z" for value in values],
    "duration": lambda values: [value and value.partition(".")[0] for value in values],
}


def _cell(view: Mapping[str, Any], key: str) -> object:
    if key == "status" and view["unreachable"]:
        return f"{view[key]}, unreachable"
    if key == "sweep":
        return view[key] and view[key]["id"]
    return _seconds(view[key]) if key == "start_time_utc" else view[key]


def _seconds(moment: str | None) -> str | None:
    return None if moment is None else f"{moment.partition('.')[0].rstrip('Z')}Z"


def _last(view: Mapping[str, Any], name: str) -> tuple[object, object]:
    """The last value of a metric; the same with the number of its values.

    A list of numbers is a series that was logged at once.
    """
    value, count = view["metrics"].get(name), view["metric_counts"].get(name, 1)
    if count < 2 and isinstance(value, list) and all(isinstance(each, (int, float)) for each in value[:1]):
        value, count = value[-1] if value else value, len(value)
    return value, value if count < 2 else f"{cell(value)} (last of {count})"


class PropertyRow(NamedTuple):
    """A property of several runs."""

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
    "params",
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
    "tags",
)


def _params(view: Mapping[str, Any]) -> dict[str, object]:
    return {name: typed(text) for name, text in parameters(view["arguments"]).items()}


def comparison(views: Sequence[Mapping[str, Any]]) -> list[PropertyRow]:
    """The properties of the runs and where they differ; a row for each property that at least one has."""
    rows: list[PropertyRow] = []
    for key in _COMPARED:
        values = [_params(view) if key == "params" else view[key] for view in views]
        if any(isinstance(value, dict) for value in values):
            within = [value or {} for value in values]
            names = dict.fromkeys(name for value in within for name in value)
            rows += [_row(f"{key}.{name}", [value.get(name) for value in within]) for name in names]
        elif any(value not in (None, [], {}, "") for value in values):
            rows.append(_row(key, values))
    return rows


def _row(key: str, values: list[Any]) -> PropertyRow:
    return PropertyRow(key, values, any(value != values[0] for value in values))
