"""The tables of the index, and their rows for a run."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from amlexec.history import moments, order
from amlexec.history.params import number_of, parameters
from amlexec.history.record import FINAL, is_run_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from amlexec.history.record import Run

__all__ = [
    "COLUMNS",
    "KINDS",
    "SHIFT",
    "VERSION",
    "Row",
    "broken_row",
    "create",
    "from_sql",
    "in_sql",
    "row_of",
]

VERSION = 2
"""Raised when the tables, or what they say about the same run, change."""
KINDS = ("metrics", "params", "tags", "env")
COLUMNS = (
    *("status", "reason", "exit_code", "script", "configuration", "target", "target_kind", "framework"),
    *("created", "started", "ended", "duration", "user", "host", "python", "platform", "environment"),
    *("image", "snapshot", "commit_id", "dirty", "sweep", "point", "note"),
)
"""Of the table `run`, for the fields of a run."""
SHIFT = 32
_LONGEST_TEXT = 1000
"""Characters of a value."""
_LARGEST_EXACT = 1 << 53
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}
_TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE run (
    id INTEGER PRIMARY KEY, name NOT NULL UNIQUE, ms INTEGER NOT NULL,
    seen TEXT NOT NULL, watched INTEGER NOT NULL, keys TEXT NOT NULL, summed INTEGER NOT NULL,
    {", ".join(COLUMNS)});
CREATE INDEX by_time ON run (ms);
CREATE INDEX by_watched ON run (watched) WHERE watched;
CREATE TABLE key (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name NOT NULL, UNIQUE (name, kind));
CREATE TABLE value (id INTEGER PRIMARY KEY, num REAL, text, logged INTEGER NOT NULL);
CREATE TABLE series (id INTEGER PRIMARY KEY, min REAL, max REAL, first REAL);
"""
# Of `run`: `seen` is the text of `index_changes.stamp`; `watched` is 0 for a run that has ended, 1 if its
# files were just written, 2 if it has not ended; `keys` are the ids of its values, comma-separated; `summed`
# is whether `series` has its metrics. The ids of values and series are `key << SHIFT | run`: the values of a
# key are side by side, and SQLite is fastest with whole numbers.

Value = tuple[str, str, "float | None", "str | bytes | None", int]
"""A value of a run: its kind, of `KINDS`; its name; its number, None if it is none or NaN; its text, None if
the number has it exactly; and how often it was logged."""


class Row(NamedTuple):
    """What the index has of a run."""

    name: str
    is_final: bool
    fields: tuple[object, ...]
    """In the order of `COLUMNS`."""
    values: list[Value]
    is_summed: bool
    """Whether all metrics were logged once, so that the last value says everything."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables."""
    connection.executescript(_TABLES)


def in_sql(text: str) -> str | bytes:
    """A text as a value of SQLite: bytes if it is not Unicode."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "surrogatepass")
    return text


def from_sql(value: str | bytes) -> str:
    """The text of `in_sql`."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")


def row_of(run: Run, tags: Mapping[str, str], note: str) -> Row:
    """The row of a readable run."""
    started, ended = moments.epoch(run.start_time_utc), moments.epoch(run.end_time_utc)
    duration = None if started is None or ended is None else max(0.0, ended - started)
    fields = (
        *(run.status, run.reason or None, run.exit_code, run.script_name, run.run_configuration, run.target),
        *(run.target_kind, run.framework, moments.epoch(run.created_utc), started, ended, duration),
        *(run.user_id, run.host, run.python and run.python.version, run.platform, run.environment_digest),
        *(run.image_id, run.snapshot and run.snapshot.tree, run.source and run.source.commit),
        *(run.source and int(run.source.dirty), run.sweep and run.sweep.id),
        *(run.sweep and run.sweep.number, note or None),
    )
    counts = run.metric_counts
    values: list[Value] = [
        ("metrics", name, *_number_and_text(value), counts.get(name, 1))
        for name, value in run.metrics.items()
    ]
    for kind, texts in (
        ("params", parameters(run.arguments)),
        ("tags", tags),
        ("env", run.environment_variables),
    ):
        values += [
            (kind, name, number_of(text), in_sql(text[:_LONGEST_TEXT]), 1) for name, text in texts.items()
        ]
    checked = tuple([in_sql(field) if isinstance(field, str) else field for field in fields])
    is_summed = all(count == 1 for count in counts.values())
    return Row(run.run_id, run.status in FINAL, checked, values, is_summed)


def broken_row(name: str, reason: str) -> Row:
    """The row of something that is not a readable run."""
    fields: dict[str, object] = dict.fromkeys(COLUMNS)
    fields |= {"status": "broken", "reason": in_sql(reason)}
    if is_run_id(name):
        fields["created"] = order.milliseconds(name) / 1000
    return Row(name, True, tuple(fields.values()), [], True)


def _number_and_text(value: object) -> tuple[float | None, str | bytes | None]:
    if isinstance(value, bool):
        return None, "true" if value else "false"
    if isinstance(value, float):
        return (None, "NaN") if math.isnan(value) else (value, None)
    if isinstance(value, int):
        return _float(value), None if abs(value) <= _LARGEST_EXACT else str(value)
    if isinstance(value, str):
        return _INFINITIES.get(value, number_of(value)), in_sql(value[:_LONGEST_TEXT])
    return None, None if value is None else json.dumps(value)[:_LONGEST_TEXT]


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
