"""doit's state, kept under `.amlexec/`: a hint for speed, never worth an error of its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from doit.dependency import DatabaseException, SqliteDB

from amlexec.console import say

__all__ = ["StateDB"]


class StateDB(SqliteDB):  # type: ignore[misc]  # doit has no types
    """doit's sqlite3 backend, for a folder that may not be there yet and a file that may be damaged.

    A damaged file is put aside as `NAME.damaged` and a new one begun: it costs a check of what was up to
    date, and nothing else, since the truth is on the targets.
    """

    def __init__(self, name: str, codec: Any, **options: Any) -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            super().__init__(name, codec, **options)
            self._conn.execute("pragma quick_check(1)").fetchall()
            self._conn.execute("select task_id, task_data from doit limit 1").fetchall()
        except (DatabaseException, sqlite3.DatabaseError, ValueError) as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            say(f"warning: doit's state was damaged ({error}); it is now {aside}, and a new one is begun")
            super().__init__(name, codec, **options)
