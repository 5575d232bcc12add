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

__all__ = ["chosen", "csv_of", "csv_of_all", "is_number", "parse", "rows", "table"]

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
    "sweep": ("sweep", "id"),
    "point": ("sweep", "number"),
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


def is_number(reference: Reference) -> bool:
    """Whether a column has the numbers of runs, as far as its name says."""
    return reference.kind in {"", "run"} and reference.name in {"number", *_FIELDS["number"]}


def chosen(
    project: Project, views: Iterable[Mapping[str, Any]], columns: Sequence[tuple[str, Reference]]
) -> dict[str, list[Any]]:
    """The values of each column for all runs, by title. Nothing else is kept of a run.

    Raises:
        UsageError: a bare name has no meaning in these runs, or several.
    """
    ids: list[str] = []
    meanings = {title: _meanings(reference) for title, reference in columns}
    for view in views:
        ids.append(view["run_id"])
        by_kind = {kind: _values(view, kind) for kind in _KINDS}
        for possible in meanings.values():
            for meaning in possible:
                meaning.add(view, by_kind)
    found = {}
    for title, reference in columns:
        meaning = _meant(reference, meanings[title], is_any=bool(ids))
        bounds = _bounds(project, meaning.reference)
        found[title] = meaning.values if bounds is None else [bounds.get(name) for name in ids]
    return found


class _Meaning:
    """One thing that the name of a column may mean, with its value of each run."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.values: list[Any] = []
        self.is_there = reference.kind == "run"

    def add(self, view: Mapping[str, Any], by_kind: Mapping[str, Mapping[str, Any]]) -> None:
        reference = self.reference
        if reference.kind == "run":
            value: Any = view
            for key in _FIELDS[reference.name]:
                value = None if value is None else value[key]
            self.values.append(value)
            return
        self.is_there = self.is_there or reference.name in by_kind[reference.kind]
        found = view["metric_counts"] if reference.aggregate == "count" else by_kind[reference.kind]
        self.values.append(found.get(reference.name))


def _bounds(project: Project, reference: Reference) -> dict[str, float] | None:
    """The values of an aggregate by run; None if it is none."""
    if reference.kind == "run" or reference.aggregate not in {"min", "max", "first"}:
        return None
    from amlexec.history import index

    return index.bounds_of(project, reference.name, reference.aggregate)


def _meanings(reference: Reference) -> list[_Meaning]:
    by_key = {keys[0]: field for field, keys in _FIELDS.items() if len(keys) == 1}
    field = by_key.get(reference.name, reference.name)
    if reference.kind == "run" and field not in _FIELDS:
        message = f"a run has no field {reference.name!r}"
        raise _error(reference, message, f"it has {', '.join(_FIELDS)}")
    kinds = [reference.kind] if reference.kind else [*(["run"] if field in _FIELDS else []), *_KINDS]
    return [
        _Meaning(reference._replace(kind=kind, name=field if kind == "run" else reference.name))
        for kind in kinds
    ]


def _meant(reference: Reference, possible: Sequence[_Meaning], *, is_any: bool) -> _Meaning:
    """The one thing that is meant; `is_any` is whether there are runs."""
    if reference.kind:
        return possible[0]
    present = [meaning for meaning in possible if meaning.is_there]
    if len(present) > 1:
        message = f"{reference.name!r} means several things"
        names = " or ".join(f"{meaning.reference.kind}.{reference.name}" for meaning in present)
        raise _error(reference, message, f"write {names}")
    if not present and is_any:
        message = f"no run here has a metric, parameter, tag or variable {reference.name!r}"
        raise _error(reference, message, "metrics.NAME, for one, is never an error")
    return present[0] if present else possible[0]


def _error(reference: Reference, message: str, advice: str) -> QueryError:
    error = QueryError(str(reference), 0, message, advice)
    error.where = "--columns"
    return error


def _values(view: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    if kind == "params":
        return {name: params.typed(text) for name, text in params.parameters(view["arguments"] or ()).items()}
    found: Mapping[str, Any] = view["environment_variables" if kind == "env" else kind] or {}
    return found


def table(found: Mapping[str, Sequence[Any]]) -> list[Column]:
    """The columns of a table, all of the same rank: the user has chosen them."""
    return [Column(title, values, rank=1) for title, values in found.items()]


def rows(found: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """A map for each run."""
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def csv_of(found: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """CSV with a line of titles, in pieces. Numbers are complete, times are UTC, lists are JSON."""
    yield _csv_line([*found])
    for row in zip(*found.values(), strict=True):
        yield _csv_line([*map(_plain, row)])


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
