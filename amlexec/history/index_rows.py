"""Read and write the rows of the index."""

# ruff: noqa: S608 - values are parameters of the statements

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.history import live_outputs, metric_lines, order
from amlexec.history.index_schema import COLUMNS, KINDS, SHIFT, from_sql, in_sql
from amlexec.history.listing import BROKEN
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL, is_run_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from amlexec.history.index_schema import Row
    from amlexec.history.output_series import Source
    from amlexec.values import Project

__all__ = ["Rows", "Seen"]

_MOST_KEYS = 10_000
_ENDED = FINAL | {BROKEN}
_HEAD = ("id", "name", "ms", "seen", "watched", "keys", "summed")
_INSERT = (
    f"INSERT INTO run ({', '.join((*_HEAD, *COLUMNS))}) "
    f"VALUES ({', '.join('?' * (len(_HEAD) + len(COLUMNS)))})"
)
_LIVE = 2
"""`watched` of a run that has not ended."""
_MOST_AT_ONCE = 500
"""Parameters of a statement."""


class Seen(NamedTuple):
    """What was seen of a run's files."""

    stamp: str
    is_live: bool
    """Whether the run had not ended."""


class Rows:
    """The rows of an index that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._keys: dict[tuple[str, str], int] = {}

    # ------------------------------------------------------------ read

    def meta(self, name: str, default: Any) -> Any:
        """A value of the index as a whole."""
        found = self._sql.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return default if found is None else json.loads(found[0])

    def count(self) -> int:
        """How many runs there are."""
        return int(self._sql.execute("SELECT count(*) FROM run").fetchone()[0])

    def names(self) -> set[str]:
        """The names of all."""
        return {_name(name) for (name,) in self._sql.execute("SELECT name FROM run")}

    def unfinished(self) -> list[str]:
        """The names of those that have not ended, newest first."""
        found = self._sql.execute("SELECT ms, name, status FROM run INDEXED BY by_watched WHERE watched")
        names = [(ms, _name(name)) for ms, name, status in found if status not in _ENDED]
        return [name for _, name in sorted(names, reverse=True)]

    def seen(self, *, everything: bool) -> dict[str, Seen]:
        """What was seen of all runs, or of those that have to be looked at each time."""
        return self._seen("" if everything else "WHERE watched")

    def seen_of(self, names: Iterable[str]) -> dict[str, Seen]:
        """What was seen of these."""
        found: dict[str, Seen] = {}
        wanted = sorted(name for name in names if is_run_id(name))
        for start in range(0, len(wanted), _MOST_AT_ONCE):
            some = wanted[start : start + _MOST_AT_ONCE]
            found |= self._seen(f"WHERE name IN ({', '.join('?' * len(some))})", some)
        return found

    def seen_between(self, first: int, last: int) -> dict[str, Seen]:
        """What was seen of those with these numbers."""
        return self._seen("WHERE id BETWEEN ? AND ?", (first, last))

    def _seen(self, where: str, values: Sequence[object] = ()) -> dict[str, Seen]:
        found = self._sql.execute(f"SELECT name, seen, watched FROM run {where}", values)
        return {_name(name): Seen(seen, watched == _LIVE) for name, seen, watched in found}

    def kinds_of(self, name: str) -> list[str]:
        """The kinds of values that any run has under a name."""
        found = self._sql.execute(
            "SELECT kind FROM key WHERE name = ? AND EXISTS (SELECT 1 FROM value "
            f"WHERE value.id BETWEEN key.id << {SHIFT} AND (key.id << {SHIFT}) + {(1 << SHIFT) - 1}) "
            "ORDER BY kind",
            (in_sql(name),),
        )
        return [KINDS[kind] for (kind,) in found]

    def similar(self, name: str) -> list[str]:
        """Names of values that are like another."""
        from difflib import get_close_matches

        from amlexec.history.query_sql import FIELDS

        found = self._sql.execute("SELECT DISTINCT name FROM key LIMIT 10000")
        return get_close_matches(name, [*FIELDS, *(from_sql(each) for (each,) in found)], n=3)

    def selected(self, statement: str, values: Mapping[str, object]) -> list[str]:
        """The names that a statement selects."""
        return [_name(name) for (name,) in self._sql.execute(statement, values)]

    def counted(self, statement: str, values: Mapping[str, object]) -> int:
        """The number that a statement selects."""
        return int(self._sql.execute(statement, values).fetchone()[0])

    def bounds(self, metric: str, aggregate: str) -> dict[str, float]:
        """The `min`, `max` or `first` number of a metric of each run that has one."""
        column = {"min": "s.min", "max": "s.max", "first": "s.first"}[aggregate]
        found = self._sql.execute(
            f"SELECT r.name, coalesce({column}, CASE WHEN v.logged = 1 THEN v.num END) AS bound FROM run r "
            "JOIN key k ON k.kind = 0 AND k.name = ? "
            f"JOIN value v ON v.id = (k.id << {SHIFT}) + r.id LEFT JOIN series s ON s.id = v.id "
            "WHERE bound IS NOT NULL",
            (in_sql(metric),),
        )
        return {_name(name): bound for name, bound in found}

    def has_unsummed(self) -> bool:
        """Whether there is a run of whose metrics only the last values are here."""
        return self._sql.execute("SELECT 1 FROM run WHERE NOT summed LIMIT 1").fetchone() is not None

    # ------------------------------------------------------------ write

    def begin(self) -> None:
        """Begin to write."""
        self._sql.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End it."""
        self._sql.execute("COMMIT")

    def set_meta(self, name: str, value: object) -> None:
        """Keep a value of the index as a whole."""
        self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def remove(self, names: Iterable[str]) -> None:
        """Remove the rows of these names, if there are any."""
        for name in names:
            found = self._sql.execute(
                "SELECT id, keys FROM run WHERE name = ?", (_sql_name(name),)
            ).fetchone()
            if found is None:
                continue
            number, keys = found
            values = [(int(key) << SHIFT | number,) for key in keys.split(",") if key]
            for table in ("value", "series"):
                self._sql.executemany(f"DELETE FROM {table} WHERE id = ?", values)
            self._sql.execute("DELETE FROM run WHERE id = ?", (number,))

    def insert(self, found: Iterable[tuple[Row, str, bool]]) -> None:
        """Add rows, with what was seen of the runs' files, as `index_readers.rows_of` gives them."""
        runs: list[tuple[object, ...]] = []
        by_key: dict[int, list[tuple[object, ...]]] = {}
        number = int(self._sql.execute("SELECT coalesce(max(id), 0) FROM run").fetchone()[0])
        for row, seen, is_settled in found:
            number += 1
            keys = []
            for kind, name, num, text, logged in row.values:
                key = self._keys.get((kind, name)) or self._key(kind, name)
                keys.append(key)
                by_key.setdefault(key, []).append((key << SHIFT | number, num, text, logged))
            watched = _LIVE if not row.is_final else 0 if is_settled else 1
            ms = order.milliseconds(row.name)
            head = (number, _sql_name(row.name), ms, seen, watched, ",".join(map(str, keys)), row.is_summed)
            runs.append(head + row.fields)
        self._sql.executemany(_INSERT, runs)
        # In the order of their ids: each key's at once.
        for key in sorted(by_key):
            self._sql.executemany("INSERT INTO value VALUES (?, ?, ?, ?)", by_key[key])

    def _key(self, kind: str, name: str) -> int:
        """The id of a name."""
        names = (KINDS.index(kind), in_sql(name))
        found = self._sql.execute("SELECT id FROM key WHERE kind = ? AND name = ?", names).fetchone()
        if found is None:
            found = (self._sql.execute("INSERT INTO key (kind, name) VALUES (?, ?)", names).lastrowid,)
        if len(self._keys) < _MOST_KEYS:
            self._keys[kind, name] = int(found[0])
        return int(found[0])

    def sum_up(self, project: Project) -> None:
        """Read the series of all runs of which only the last values are here."""
        from amlexec import progress

        waiting = self._sql.execute("SELECT id, name, watched FROM run WHERE NOT summed").fetchall()
        with progress.Late(f"reading the metrics of {len(waiting)} runs") as shown:
            for done, (number, name, watched) in enumerate(waiting):
                shown.at(done, len(waiting))
                self._sum_up(number, RunPaths.of(project, _name(name)), is_live=watched == _LIVE)

    def _sum_up(self, number: int, paths: RunPaths, *, is_live: bool) -> None:
        bounds = _bounds(paths, is_live=is_live)
        rows = [(self._key("metrics", metric) << SHIFT | number, *bound) for metric, bound in bounds.items()]
        self._sql.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)", rows)
        self._sql.execute("UPDATE run SET summed = 1 WHERE id = ?", (number,))


def _sql_name(name: str) -> str | bytes:
    """Names of folders may be any bytes."""
    return in_sql(name) if name.isascii() else os.fsencode(name)


def _name(value: str | bytes) -> str:
    return value if isinstance(value, str) else os.fsdecode(value)


def _bounds(paths: RunPaths, *, is_live: bool) -> dict[str, list[float]]:
    """The smallest, the largest and the first number of each metric. NaN is left out."""
    found = _Bounds()
    with contextlib.suppress(OSError):
        for block in metric_lines.blocks(paths.metrics):
            found.add_block(block)
    own = frozenset(found.names)
    for source in live_outputs.sources(paths) if is_live else _sources(paths):
        for block in source.blocks(own):
            found.add_block(block)
    return found.bounds


def _sources(paths: RunPaths) -> list[Source]:
    if not paths.outputs.is_dir():
        return []
    from amlexec.history import output_series

    return output_series.sources(paths.folder)


class _Bounds:
    """The bounds of series that are being read."""

    def __init__(self) -> None:
        self.bounds: dict[str, list[float]] = {}
        self.names: set[str] = set()

    def add_block(self, block: metric_lines.Numbers | Sequence[metric_lines.Item | None]) -> None:
        if isinstance(block, metric_lines.Numbers):
            by_name: dict[str, list[float]] = {}
            for name, value in zip(block.names, block.values, strict=True):
                by_name.setdefault(name, []).append(value)
            for name, values in by_name.items():
                self.names.add(name)
                numbers = [value for value in values if not math.isnan(value)]
                if numbers:
                    self._add(name, min(numbers), max(numbers), numbers[0])
            return
        for item in filter(None, block):
            self.names.add(item.name)
            if (number := _number(item.value)) is not None:
                self._add(item.name, number, number, number)

    def _add(self, name: str, least: float, most: float, first: float) -> None:
        if (before := self.bounds.get(name)) is None:
            self.bounds[name] = [least, most, first]
        else:
            before[0], before[1] = min(before[0], least), max(before[1], most)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        value = metric_lines.NOT_FINITE.get(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
