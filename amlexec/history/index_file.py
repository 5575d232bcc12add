"""The file of an index: where it is, who may use it, and whether it is what was written.

An index is a SQLite file in the user's cache, never in the project. It can be removed at any time. Readers
share a lock (`flock`, which ends with its holder); a writer is alone. After each write, the size and the
times of the file are noted beside it. A file that is not as noted (damaged, cut short, of a killed writer) is
made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import digest, private_folders
from amlexec.files import read_regular, write_atomically
from amlexec.history.index_schema import VERSION, create

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.values import Project

__all__ = ["LOCK_TIMEOUT_S", "IndexFile", "UnusableError", "folder", "private"]

LOCK_TIMEOUT_S = 2.0
"""After this, a command reads the runs itself, without the index."""
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs")
)
_SMALL = 1 << 16
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OLD_S = 30 * 86400


class UnusableError(Exception):
    """The index can't be used, or not now."""


def folder() -> Path:
    """The folder of the indexes: on a disk of this machine, private.

    Raises:
        TargetError: none can be made.
    """
    given = os.environ.get("AMLEXEC_CACHE")
    if given:
        return Path(given).expanduser().absolute() / "history"
    import platformdirs

    cache = platformdirs.user_cache_path("amlexec", appauthor=False) / "history"
    if not _is_remote(cache):
        return cache
    # A home on a file server: locks and SQLite are not safe on every one.
    return private_folders.first_of([Path(f"/var/tmp/amlexec-{os.getuid()}")], "history")  # noqa: S108


def _is_remote(path: Path) -> bool:
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    best, kind = "", ""
    for line in lines:
        _, mount, name, *_ = line.split(" ")
        if len(mount) >= len(best) and f"{path}/".startswith(f"{mount.rstrip('/')}/"):
            best, kind = mount, name
    return kind in _NETWORK or kind.startswith("fuse.")


@contextlib.contextmanager
def private() -> Iterator[sqlite3.Connection]:
    """An empty index of this process alone, in a temporary file that has no name."""
    connection = sqlite3.connect("", isolation_level=None)
    try:
        _configure(connection)
        create(connection)
        yield connection
    finally:
        connection.close()


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -16000")
    connection.execute("PRAGMA trusted_schema = OFF")


class IndexFile:
    """The index of a project. Each method may raise OSError or sqlite3.Error; most also UnusableError."""

    def __init__(self, project: Project) -> None:
        at = folder()
        private_folders.make(at)
        name = digest.of_bytes(os.fsencode(os.path.realpath(project.state)))[:32]
        self._state = project.state
        self._path = at / f"{name}.sqlite"
        self._stamp = at / f"{name}.json"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._lock = os.open(at / f"{name}.lock", flags, 0o600)
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Lock it for reading; make it if it is missing or damaged."""
        self._wait(fcntl.LOCK_SH)
        if not self._is_as_written():
            self.renew()

    def close(self) -> None:
        """Release it."""
        self._close()
        os.close(self._lock)

    @property
    def connection(self) -> sqlite3.Connection:
        """A connection that may only read, until `writing`."""
        if self._connection is None:
            self._connection = sqlite3.connect(
                f"file:{_quoted(self._path)}?mode=ro&immutable=1", uri=True, isolation_level=None
            )
            _configure(self._connection)
        return self._connection

    def renew(self, *, whatever: bool = False) -> None:
        """Replace the index by an empty one, unless another process has; with `whatever`, in any case."""
        self._alone()
        if not whatever and self._is_as_written():
            return
        self._close()
        for path in (self._stamp, self._path, Path(f"{self._path}-journal")):
            path.unlink(missing_ok=True)
        self._forget_old()
        os.close(os.open(self._path, _NEW, 0o600))
        made = sqlite3.connect(self._path, isolation_level=None)
        try:
            _configure(made)
            create(made)
        finally:
            made.close()
        self._note()

    def write(self) -> sqlite3.Connection:
        """A connection that writes; no other process uses the index until the end. `written` must follow."""
        self._alone()
        self._close()
        if not self._is_as_written():
            raise UnusableError("the index has changed")
        # Until it is noted again, what is written does not count.
        self._stamp.unlink()
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        _configure(self._connection)
        return self._connection

    def written(self) -> None:
        """Note that everything was written."""
        self._close()
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._note()

    def _close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _alone(self) -> None:
        # Two readers that both want to write would wait for each other.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._wait(fcntl.LOCK_EX)

    def _wait(self, kind: int) -> None:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        pause = 0.001
        while True:
            try:
                fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise UnusableError("another process uses the index") from None
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def _identity(self) -> list[int]:
        status = os.lstat(self._path)
        return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]

    def _note(self) -> None:
        noted = {"version": VERSION, "file": self._identity(), "state": self._state}
        write_atomically(self._stamp, json.dumps(noted) + "\n", durable=False)

    def _is_as_written(self) -> bool:
        try:
            noted = json.loads(read_regular(self._stamp, _SMALL, follow=False))
            return bool(noted["version"] == VERSION and noted["file"] == self._identity())
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def _forget_old(self) -> None:
        """Remove the indexes of projects that no longer exist."""
        for stamp in self._stamp.parent.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                state = json.loads(read_regular(stamp, _SMALL, follow=False))["state"]
                if time.time() - stamp.lstat().st_mtime > _OLD_S and not os.path.exists(state):  # noqa: PTH110
                    for path in (stamp, stamp.with_suffix(".sqlite"), stamp.with_suffix(".lock")):
                        path.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    # As `urllib.parse.quote`, which would take 2 ms of every command to import.
    signs = "/._-~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(chr(byte) if chr(byte) in signs else f"%{byte:02X}" for byte in os.fsencode(path))
