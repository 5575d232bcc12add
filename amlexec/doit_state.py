"""doit's state, kept under `.amlexec/`: a hint for speed, never worth an error of its own."""

from __future__ import annotations

import functools
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from doit.dependency import DatabaseException, SqliteDB

from amlexec import private_folders
from amlexec.console import say, show
from amlexec.errors import TargetError

__all__ = ["StateDB"]

LOCK_TIMEOUT_S = 60.0
"""How long another process may hold the state. It writes for milliseconds."""
SAY_AFTER_S = 1.0
_TRY_S = 0.2


class StateDB(SqliteDB):  # type: ignore[misc]  # doit has no types
    """doit's sqlite3 backend, for a folder that may not be there yet and a file that may be damaged.

    - A damaged file is put aside as `NAME.damaged` and a new one begun: it costs a check of what was up to
      date, and nothing else, since the truth is on the targets.
    - A file that another process holds is waited for.
    - Where nothing can be written, what is there is read, and what is new is forgotten at the end.
    """

    def __init__(self, name: str, codec: Any, **options: Any) -> None:
        path, self._begun = Path(name), time.monotonic()
        self._why = ""
        """Why nothing can be saved; "" where it can."""
        if not _is_in_a_project(path):
            # The tasks say what is wrong. Nothing is left in a folder that is no project.
            super().__init__(":memory:", codec, **options)
            return
        try:
            private_folders.make(path.parent)
            # For its owner alone. An empty file is an empty database.
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._open(path, codec, options)
        except _DamagedError as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            say(f"warning: doit's state was damaged ({error}); it is now {aside}, and a new one is begun")
            self._open(path, codec, options)
        except OSError as error:
            self._forget_at_the_end(path, codec, options, error.strerror or str(error))

    def _open(self, path: Path, codec: Any, options: dict[str, Any]) -> None:
        """Open the file, and wait as long as another process holds it."""
        has_said = False
        while True:
            try:
                super().__init__(str(path), codec, **options)
                self._conn.execute("pragma quick_check(1)").fetchall()
                self._conn.execute("select task_id, task_data from doit limit 1").fetchall()
                self._conn.execute(f"pragma busy_timeout = {LOCK_TIMEOUT_S * 1000:.0f}")
            except (DatabaseException, sqlite3.DatabaseError, ValueError) as error:
                cause = error.__context__ if isinstance(error, DatabaseException) else error
                if not _is_locked(cause):
                    if _is_refused(cause):
                        raise OSError(str(cause)) from error
                    raise _DamagedError(str(cause)) from error
            else:
                return
            waited = time.monotonic() - self._begun
            if waited > LOCK_TIMEOUT_S:
                # doit opens its state outside of all that shows errors.
                raise SystemExit(show(_held(path)))
            if waited > SAY_AFTER_S and not has_said:
                has_said = True
                say(f"waiting for doit's state, {path}: {_holder(path)} is using it")

    def _sqlite3(self, name: str) -> Any:
        connect: Any = sqlite3.connect
        # doit opens the file itself, and would wait for five seconds without a word.
        sqlite3.connect = functools.partial(connect, timeout=_TRY_S)
        try:
            return super()._sqlite3(name)
        finally:
            sqlite3.connect = connect

    def _forget_at_the_end(self, path: Path, codec: Any, options: dict[str, Any], why: str) -> None:
        """Take over what a file says that can't be written."""
        self._why = f"doit's state can't be kept in {path}: {why[:1].lower()}{why[1:]}"
        super().__init__(":memory:", codec, **options)
        try:
            there = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
        except sqlite3.Error:
            return  # there is none
        try:
            rows = there.execute("select task_id, task_data from doit").fetchall()
            self._conn.executemany("insert or replace into doit values (?,?)", rows)
        except sqlite3.Error:
            return  # it says nothing that can be read
        finally:
            there.close()

    def remove(self, task_id: str) -> None:
        """Forget a task, without holding the file until all tasks are done."""
        super().remove(task_id)
        self._conn.commit()

    def remove_all(self) -> None:
        """Forget all tasks."""
        super().remove_all()
        self._conn.commit()

    def dump(self) -> None:
        """Save what is new."""
        if self._why and self._dirty:
            say(f"note: {self._why}; what was done now is checked again next time")
        try:
            super().dump()
        except sqlite3.Error as error:
            say(f"warning: doit's state could not be saved ({error}): what was done is checked once more")
            self._conn.close()


class _DamagedError(Exception):
    """The file is no database, or not doit's."""


def _is_in_a_project(path: Path) -> bool:
    names = ("aml_config", ".azureml")
    return any((folder / name).is_dir() for folder in path.absolute().parents for name in names)


def _is_locked(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def _is_refused(error: BaseException | None) -> bool:
    """The operating system refused it: nothing is wrong with what the file holds."""
    words = ("unable to open", "readonly", "read-only", "disk I/O", "disk is full", "permission")
    return isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in words)


def _held(path: Path) -> TargetError:
    return TargetError(
        f"doit's state has been in use by {_holder(path)} for more than {LOCK_TIMEOUT_S:.0f} seconds",
        where=str(path),
        hint="wait until it is done, or end it",
    )


def _holder(path: Path) -> str:
    """The process that has a file locked, in words. Only Linux tells which it is."""
    try:
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            words = line.split()
            if "->" in words or words[5].rpartition(":")[2] != str(inode) or words[4] == str(os.getpid()):
                continue
            called = Path("/proc", words[4], "cmdline").read_bytes().replace(b"\0", b" ")
            return f"process {words[4]} ({called.decode('utf-8', 'replace').strip()})"
    except (OSError, IndexError):
        return "another process"  # it has ended, or this is no Linux
    return "another process"
