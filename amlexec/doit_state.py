"""doit's state in `.amlexec/`. It only saves time, so problems with it are no errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from amlexec import private_folders
from amlexec.console import say, show
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["StateDB"]

LOCK_TIMEOUT_S = 60.0
"""How long to wait for another process that holds the state; a write takes milliseconds."""
SAY_AFTER_S = 1.0
_TRY_S = 0.2


class StateDB:
    """A backend of doit: SQLite, for a folder that may not exist yet and a file that may be damaged.

    The file has the format of doit's own backend `sqlite3`: a row with the values of each task. It is read on
    demand and written once, at the end, so that it is not locked while tasks run.

    - A damaged file is renamed to `NAME.damaged` and a new one is created. Tasks are then checked once more,
      and nothing else is lost.
    - If another process holds the file, wait for it.
    - If the file can't be written, it is read, and changes are dropped at the end.
    """

    def __init__(self, name: str, codec: Any, *, module_name: str | None = None) -> None:
        del module_name  # of dbm
        self.name = name
        self._codec = codec
        self._rows: dict[str, dict[str, Any]] = {}
        self._changed: set[str] = set()
        self._why = ""
        """Why nothing can be saved; "" if it can."""
        path, began = Path(name), time.monotonic()
        if not _is_in_a_project(path):
            # The tasks report the error. Write nothing to a folder that is not a project.
            self._file = _opened(":memory:")
            return
        try:
            private_folders.make(path.parent)
            # Private to its owner. An empty file is an empty database.
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = _when_free(path, began)
        except _DamagedError as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            say(f"warning: doit's state was damaged ({error}): moved to {aside}, starting a new one")
            self._file = _when_free(path, began)
        except OSError as error:
            why = error.strerror or str(error)
            self._why = f"doit's state can't be written to {path}: {why[:1].lower()}{why[1:]}"
            self._file = _copied(path)

    def get(self, task_id: str, dependency: str) -> Any:
        """A value of a task by its name; None if there is none."""
        return self._row(task_id).get(dependency)

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Set a value of a task; it is saved at the end."""
        self._row(task_id)[dependency] = value
        self._changed.add(task_id)

    def in_(self, task_id: str) -> bool:
        """Whether a task has any value."""
        return bool(self._row(task_id))

    def _row(self, task_id: str) -> dict[str, Any]:
        if task_id not in self._rows:
            found = self._file.execute("select task_data from doit where task_id=?", (task_id,)).fetchone()
            self._rows[task_id] = _decoded(self._codec, found[0]) if found is not None else {}
        return self._rows[task_id]

    def remove(self, task_id: str) -> None:
        """Remove a task at once, so that the file is not locked until all tasks end."""
        self._rows[task_id] = {}
        self._changed.discard(task_id)
        self._file.execute("delete from doit where task_id=?", (task_id,))
        self._file.commit()

    def remove_all(self) -> None:
        """Remove all tasks."""
        self._rows, self._changed = {}, set()
        self._file.execute("delete from doit")
        self._file.commit()

    def dump(self) -> None:
        """Save the changes, and close the file."""
        if self._why and self._changed:
            say(f"note: {self._why}; next time, these tasks are checked again")
        rows = [(name, self._codec.encode(self._rows[name])) for name in sorted(self._changed)]
        try:
            if rows:
                self._file.executemany("insert or replace into doit values (?,?)", rows)
                self._file.commit()
        except sqlite3.Error as error:
            say(f"warning: doit's state could not be saved ({error}): tasks are checked again next time")
        self._file.close()
        self._changed = set()


def _decoded(codec: Any, data: object) -> dict[str, Any]:
    """The values in a row; {} if it is damaged, so that its task is checked again."""
    try:
        row = codec.decode(data.decode("utf-8") if isinstance(data, bytes) else data)
    except (ValueError, TypeError):
        return {}
    return row if isinstance(row, dict) else {}


def _opened(name: str) -> sqlite3.Connection:
    file = sqlite3.connect(name, timeout=_TRY_S)
    try:
        file.execute("create table if not exists doit (task_id text not null primary key, task_data json)")
    except BaseException:
        file.close()
        raise
    return file


def _checked(file: sqlite3.Connection) -> sqlite3.Connection:
    """The file if it can be read; else it is closed. Raises sqlite3.DatabaseError, _DamagedError."""
    with contextlib.ExitStack() as after_an_error:
        after_an_error.callback(file.close)
        if (found := file.execute("pragma quick_check(1)").fetchone()) != ("ok",):
            raise _DamagedError(str(found[0]))
        file.execute("select task_id, task_data from doit limit 1").fetchall()
        file.execute(f"pragma busy_timeout = {LOCK_TIMEOUT_S * 1000:.0f}")
        after_an_error.pop_all()
    return file


def _when_free(path: Path, began: float) -> sqlite3.Connection:
    """The opened file; waits while another process holds it.

    Raises:
        OSError: the operating system refuses access.
        _DamagedError: the file can't be read.
    """
    is_announced = False
    while True:
        try:
            return _checked(_opened(str(path)))
        except sqlite3.DatabaseError as error:
            if not _is_locked(error):
                if _is_refused(error):
                    raise OSError(str(error)) from error
                raise _DamagedError(str(error)) from error
        waited = time.monotonic() - began
        if waited > LOCK_TIMEOUT_S:
            # doit does not catch errors here.
            raise SystemExit(show(_timeout(path)))
        if waited > SAY_AFTER_S and not is_announced:
            is_announced = True
            say(f"waiting for doit's state, {path}: {_holder(path)} is using it")


def _copied(path: Path) -> sqlite3.Connection:
    """A copy in memory of a file that can't be written; empty if it can't be read either."""
    copy = _opened(":memory:")
    try:
        original = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
    except sqlite3.Error:
        return copy  # it does not exist
    try:
        rows = original.execute("select task_id, task_data from doit").fetchall()
        copy.executemany("insert or replace into doit values (?,?)", rows)
        copy.commit()
    except sqlite3.Error:
        return copy  # it is damaged
    finally:
        original.close()
    return copy


class _DamagedError(Exception):
    """The file is not a database, or not doit's."""


def _is_in_a_project(path: Path) -> bool:
    names = ("aml_config", ".azureml")
    return any((folder / name).is_dir() for folder in path.absolute().parents for name in names)


def _is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def _is_refused(error: BaseException | None) -> bool:
    """Whether the operating system refused access; the file itself may be intact."""
    words = ("unable to open", "readonly", "read-only", "disk I/O", "disk is full", "permission")
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in words)


def _timeout(path: Path) -> TargetError:
    return TargetError(
        f"doit's state has been in use by {_holder(path)} for more than {LOCK_TIMEOUT_S:.0f} seconds",
        where=str(path),
        hint="wait until it is done, or stop it",
    )


def _holder(path: Path) -> str:
    """A description of the process that has locked a file; "another process" if unknown or not on Linux."""
    try:
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            words = line.split()
            if "->" in words or words[5].rpartition(":")[2] != str(inode) or words[4] == str(os.getpid()):
                continue
            called = Path("/proc", words[4], "cmdline").read_bytes().replace(b"\0", b" ")
            return f"process {words[4]} ({called.decode('utf-8', 'replace').strip()})"
    except (OSError, IndexError):
        return "another process"  # it has ended, or this is not Linux
    return "another process"
