"""Read what MLflow's client wrote into a SQLite database below a run's outputs, without MLflow."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from amlexec.files import open_regular
from amlexec.history.metric_lines import Item, Numbers
from amlexec.history.mlflow_files import MOST_RUNS, as_items, is_own_tag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FILE", "DatabaseRun", "runs"]

FILE = "mlflow.db"
"""Below `outputs/`; the name that recent versions of MLflow give it."""
_BATCH = 10_000
_TABLES = {"runs", "metrics", "params", "tags"}
_INFINITE = 1.797e308
"""MLflow stores infinities as the largest numbers that SQLite has."""
_RUNS = (
    "SELECT run_uuid, name, start_time FROM runs WHERE lifecycle_stage = 'active' "
    "ORDER BY start_time, run_uuid LIMIT ?"
)
_METRICS = (
    "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"
)


class DatabaseRun(NamedTuple):
    """A run of MLflow in a database. A database that can't be read is an OSError."""

    database: Path
    run_id: str
    name: str
    started: float
    """Seconds since 1970; NaN if unknown."""

    def blocks(self) -> Iterator[Numbers | list[Item]]:
        """Its metrics and parameters."""
        metrics: set[str] = set()
        with _opened(self.database) as connection:
            rows = connection.execute(_METRICS, [self.run_id])
            while batch := rows.fetchmany(_BATCH):
                points = [point for row in batch if (point := _point(*row)) is not None]
                if points:
                    names, values, times, steps = map(list, zip(*points, strict=True))
                    metrics.update(names)
                    yield Numbers(names, values, times, steps)
            parameters = self._pairs(connection, "params")
        yield as_items(parameters, metrics, self.started)

    def tags(self) -> dict[str, str]:
        """The tags that the script set."""
        with _opened(self.database) as connection:
            return {key: text for key, text in self._pairs(connection, "tags") if not is_own_tag(key)}

    def remarks(self) -> list[str]:
        """None: a database that can't be read is an error."""
        return []

    def _pairs(self, connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
        query = f"SELECT key, value FROM {table} WHERE run_uuid = ? ORDER BY key LIMIT 10000"  # noqa: S608
        return [(str(key), str(value)) for key, value in connection.execute(query, [self.run_id])]


def runs(outputs: Path) -> list[DatabaseRun]:
    """The runs in the database of a run's outputs, oldest first; [] if it is missing or can't be read."""
    database = outputs / FILE
    with contextlib.suppress(OSError), _opened(database) as connection:
        return [
            DatabaseRun(
                database,
                str(run_id),
                str(name or run_id)[:250],
                started / 1000 if isinstance(started, int) else math.nan,
            )
            for run_id, name, started in connection.execute(_RUNS, [MOST_RUNS])
        ]
    return []


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database, for reading. It is not trusted: only tables are read, no views with code of others."""
    open_regular(database, follow=False).close()
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)
        ) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not {name for (name,) in found} >= _TABLES:
                raise OSError(0, "it has no runs of MLflow", str(database))
            yield connection
    except sqlite3.Error as error:
        raise OSError(0, str(error), str(database)) from error


def _point(
    key: object, value: object, timestamp: object, step: object, is_nan: object
) -> tuple[str, float, float, float] | None:
    if not isinstance(value, int | float) or not isinstance(timestamp, int):
        return None
    number = float(value)
    if is_nan:
        number = math.nan
    elif abs(number) >= _INFINITE:
        number = math.copysign(math.inf, number)
    return str(key), number, timestamp / 1000, step if isinstance(step, int) else 0
