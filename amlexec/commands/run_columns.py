"""The columns that a user chooses for a list of runs, and lists of runs as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from amlexec.commands.fitting import Column
from amlexec.errors import UsageError
from amlexec.history import params, query
from amlexec.history.query_tokens import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from amlexec.history.query import Reference
    from amlexec.values import Project

__all__ = ["chosen", "csv_of", "csv_of_all", "parse", "table"]

_FIELDS = {
    "run_id": ("run_id",),
    "status": ("status",),
    "reason": ("reason",),
    "exit_code": ("exit_code",),
    "script": ("script_name",),
    "configuration": ("run_configuration",),
    "target": ("target",),
    "target_kind": ("target_kind",),
    "framework": ("framework",),
    "created": ("created_utc",),
    "started": ("start_time_utc",),
    "ended": ("end_time_utc",),
    "duration": ("duration",),
    "user": ("user_id",),
    "host": ("host",),
    "python": ("python", "version"),
    "platform": ("platform",),
    "environment": ("environment_digest",),
    "image": ("image_id",),
    "snapshot": ("snapshot", "tree"),
    "commit": ("source", "commit"),
    "dirty": ("source", "dirty"),
    "note": ("description",),
    "number": ("run_number",),
}
"""Where the JSON of a run has each field."""
_KINDS = ("metrics", "params", "tags", "env")
_IN_CSV = (
    *("run_id", "status", "reason", "exit_code", "script", "configuration", "target", "created", "started"),
    *("ended", "duration", "note"),
)


def parse(text: str) -> list[tuple[str, Reference]]:
    """The columns that a user names, with their titles.

    Raises:
        UsageError: the text is no list of names.
    """
    try:
        return query.parse_columns(text)
    except UsageError as error:
        error.where = "--columns"
        raise


def chosen(
    project: Project, views: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, Reference]]
) -> list[dict[str, Any]]:
    """The values of the columns for each run, by title.

    Raises:
        UsageError: a bare name has no meaning in these runs, or several.
    """
    kinds = {title: _resolved(reference, views) for title, reference in columns}
    bounds = {title: _bounds(project, reference) for title, reference in kinds.items()}
    return [{title: _value(view, kinds[title], bounds[title]) for title, _ in columns} for view in views]


def _bounds(project: Project, reference: Reference) -> dict[str, float]:
    """The values of an aggregate by run."""
    if reference.aggregate not in {"min", "max", "first"}:
        return {}
    from amlexec.history import index

    return index.bounds_of(project, reference.name, reference.aggregate)


def _resolved(reference: Reference, views: Sequence[Mapping[str, Any]]) -> Reference:
    by_key = {keys[0]: field for field, keys in _FIELDS.items() if len(keys) == 1}
    field = by_key.get(reference.name, reference.name)
    if reference.kind == "run" and field not in _FIELDS:
        message = f"a run has no field {reference.name!r}"
        raise _error(reference, message, f"it has {', '.join(_FIELDS)}")
    if reference.kind:
        return reference._replace(name=field) if reference.kind == "run" else reference
    kinds = [kind for kind in _KINDS if any(reference.name in _values(view, kind) for view in views)]
    if field in _FIELDS:
        kinds.insert(0, "run")
    if len(kinds) > 1:
        message = f"{reference.name!r} means several things"
        raise _error(reference, message, "write " + " or ".join(f"{kind}.{reference.name}" for kind in kinds))
    if not kinds and views:
        message = f"no run here has a metric, parameter, tag or variable {reference.name!r}"
        raise _error(reference, message, "metrics.NAME, for one, is never an error")
    kind = kinds[0] if kinds else "metrics"
    return reference._replace(kind=kind, name=field if kind == "run" else reference.name)


def _error(reference: Reference, message: str, advice: str) -> QueryError:
    error = QueryError(str(reference), 0, message, advice)
    error.where = "--columns"
    return error


def _values(view: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    if kind == "params":
        return {name: params.typed(text) for name, text in params.parameters(view["arguments"] or ()).items()}
    found: Mapping[str, Any] = view["environment_variables" if kind == "env" else kind] or {}
    return found


def _value(view: Mapping[str, Any], reference: Reference, bounds: Mapping[str, float]) -> Any:
    if reference.kind == "run":
        value: Any = view
        for key in _FIELDS[reference.name]:
            value = None if value is None else value[key]
        return value
    if reference.aggregate == "count":
        return view["metric_counts"].get(reference.name)
    if reference.aggregate in {"min", "max", "first"}:
        return bounds.get(view["run_id"])
    return _values(view, reference.kind).get(reference.name)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, Reference]]) -> list[Column]:
    """The columns of a table, all of the same rank: the user has chosen them."""
    titles = dict.fromkeys(title for title, _ in columns)
    return [Column(title, [row[title] for row in rows], rank=1) for title in titles]


def csv_of(rows: Iterable[Mapping[str, Any]], titles: Sequence[str]) -> str:
    """CSV with a line of titles. Numbers are complete, times are UTC, lists are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    titles = list(dict.fromkeys(titles))
    writer.writerow(titles)
    writer.writerows([_plain(row.get(title)) for title in titles] for row in rows)
    return text.getvalue()


def csv_of_all(views: Callable[[], Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    """Runs as CSV in pieces: main fields, then parameters, metrics and tags, as `params.NAME` and so on.

    `views` is called twice, first for the titles: not all runs are in memory.
    """
    names: dict[str, dict[str, None]] = {kind: {} for kind in ("params", "metrics", "tags")}
    for view in views():
        for kind, found in names.items():
            found.update(dict.fromkeys(_values(view, kind)))
    titles = [(kind, name) for kind, found in names.items() for name in found]
    yield _csv_line([*_IN_CSV, *(f"{kind}.{name}" for kind, name in titles)])
    for view in views():
        values = {kind: _values(view, kind) for kind in names}
        fields = [_plain(view[_FIELDS[field][0]]) for field in _IN_CSV]
        yield _csv_line([*fields, *(_plain(values[kind].get(name)) for kind, name in titles)])


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)
