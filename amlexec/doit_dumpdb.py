"""`doit dumpdb`: print doit's state of a project. doit's own command only reads dbm files."""

from __future__ import annotations

import json
import pprint
import sqlite3
from pathlib import Path

from doit.cmd_dumpdb import DumpDB
from doit.exceptions import InvalidCommand

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["DumpState"]

_OURS = ".amlexec/doit.db"


class DumpState(DumpDB):  # type: ignore[misc]  # doit has no types
    """Print the state of the project in this folder, or the file of `--db-file`."""

    name = "dumpdb"

    def execute(self, opt_values: Any, pos_args: list[str]) -> None:
        """Print a line for each task; files in another format are left to doit."""
        path = Path(opt_values["dep_file"])
        if not list(path.parent.glob(f"{path.name}*")):
            path = Path(_OURS)
            if not path.exists():
                raise InvalidCommand("this folder has no state of doit: no task has succeeded yet")
        if path.is_file() and path.open("rb").read(15) == b"SQLite format 3":
            _dump(path)
        else:
            super().execute(opt_values, pos_args)


def _dump(path: Path) -> None:
    try:
        state = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        rows = state.execute("select task_id, task_data from doit order by task_id").fetchall()
        state.close()
        for name, values in rows:
            print(f"{name} -> {pprint.pformat(json.loads(values), indent=4, width=100)}")
    except (sqlite3.Error, ValueError) as error:
        raise InvalidCommand(f"{path} can't be read: {error}") from None
