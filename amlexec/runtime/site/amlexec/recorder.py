"""Writes into the folder of the run that this process is part of.

Each line is one append, so processes and threads can write at the same time, and what a killed process has
written stays. A failed write is reported once and never stops the script.
"""

import atexit
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterable

__all__ = ["FOLDER", "METRICS", "append", "append_metric", "folder", "store", "sync", "warn"]

FOLDER = "AMLEXEC_RUN_FOLDER"
METRICS = "metrics.jsonl"
SYNC_INTERVAL_S = 1.0
"""Seconds: a training loop may log a thousand times a second, and a disk may need 10 ms to flush."""
TIME_INTERVAL_S = 0.01
"""Seconds after a line with a time in which lines have none: it would be a third of a line."""
MOST_OPEN = 16
"""Files that are kept open."""
_BLOCK = 1 << 20


def folder() -> str:
    """The absolute path of the run's folder; "" outside a run."""
    return os.environ.get(FOLDER, "")


class _Log:
    """A file that is open for appending."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._path = path
        self._process = os.getpid()
        self._identity = self._found()
        self._timed = 0.0
        self._synced = 0.0
        self._is_dirty = False

    def _found(self) -> "tuple[int, int, bool]":
        found = os.fstat(self.descriptor)
        return found.st_dev, found.st_ino, found.st_nlink > 0

    def is_usable(self) -> bool:
        """Whether the descriptor is still this file's, and the file still has its name.

        A script may have forked, or closed every descriptor and opened other files.
        """
        try:
            return self._process == os.getpid() and self._identity == self._found()
        except OSError:
            return False

    def metric(self, start: str, end: str) -> None:
        """Write a metric; the time, between the parts, is left out soon after another."""
        now = time.time()
        is_timed = not 0 <= now - self._timed < TIME_INTERVAL_S
        middle = ',"time":%.3f' % now if is_timed else ""
        try:
            self.write((start + middle + end).encode("ascii"))
        except BaseException:
            self._timed = 0.0
            raise
        # Only now: a line of another thread may take its time from this one.
        if is_timed:
            self._timed = now

    def write(self, line: bytes) -> None:
        if os.write(self.descriptor, line) < len(line):
            raise OSError("the disk is full")
        self._is_dirty = True
        now = time.time()
        # The clock may be set back.
        if not 0 <= now - self._synced < SYNC_INTERVAL_S:
            self._synced = now
            self.sync()

    def sync(self) -> None:
        if self._is_dirty and self.is_usable():
            self._is_dirty = False
            os.fsync(self.descriptor)


class _Recorder:
    """The files of this process, and whether a loss has been reported."""

    def __init__(self) -> None:
        self._logs = {}  # type: dict[str, _Log]
        self._has_warned = False
        atexit.register(self.sync)

    def log(self, path: str) -> _Log:
        """The open file at `path`. Without a lock, which a fork could leave locked."""
        log = self._logs.get(path)
        if log is not None and log.is_usable():
            return log
        if log is None and len(self._logs) >= MOST_OPEN:
            old = self._logs.pop(next(iter(self._logs)))
            if old.is_usable():
                os.close(old.descriptor)
        # The descriptor of an unusable file is another file's, or shared with the parent process.
        log = self._logs[path] = _Log(path)
        return log

    def sync(self) -> None:
        """Flush what was written."""
        for log in list(self._logs.values()):
            try:
                log.sync()
            except (OSError, ValueError) as error:
                self.warn("a metric could not be kept: {}".format(error))

    def warn(self, what: str) -> None:
        """Print one warning per process."""
        if self._has_warned:
            return
        self._has_warned = True
        try:
            sys.stderr.write("amlexec: warning: {}\n".format(what))
            sys.stderr.flush()
        except Exception:  # it is missing, closed, or an object of the script
            pass


_RECORDER = _Recorder()
sync = _RECORDER.sync
warn = _RECORDER.warn


def append_metric(start: str, end: str) -> None:
    """Append a line of ASCII to `metrics.jsonl`, the time between its parts. Does nothing outside a run."""
    place = os.environ.get(FOLDER)
    if place:
        try:
            _RECORDER.log(place + "/" + METRICS).metric(start, end)
        except (OSError, ValueError) as error:
            warn("a metric could not be kept: {}".format(error))


def append(name: str, line: str) -> None:
    """Append a line of ASCII to the file `name` of the run's folder. Does nothing outside a run."""
    place = folder()
    if place:
        try:
            _RECORDER.log(os.path.join(place, name)).write(line.encode("ascii"))
        except (OSError, ValueError) as error:
            warn("a line of {} could not be kept: {}".format(name, error))


def store(parts: "list[str]", contents: object) -> None:
    """Write text, bytes or an open file to `outputs/PARTS…`, atomically. Does nothing outside a run."""
    place = folder()
    if not place:
        return
    path = os.path.join(place, "outputs", *parts)
    # Written beside `outputs/` first, so that files in it are always complete.
    draft = os.path.join(place, ".upload-{}-{}".format(os.getpid(), threading.get_ident()))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            # Uploads are private, whatever the permissions of their source.
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for piece in _pieces(contents):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            if os.path.exists(draft):
                os.unlink(draft)
            raise
    except (OSError, ValueError) as error:
        warn("the file outputs/{} could not be kept: {}".format("/".join(parts), error))


def _pieces(contents: object) -> "Iterable[bytes]":
    read = getattr(contents, "read", None)
    if not callable(read):
        return [_bytes(contents)]
    try:
        first = read(_BLOCK)
    except TypeError:  # it reads only as a whole
        return [_bytes(read())]
    # A file in pieces: a model may be larger than the memory.
    rest = iter(lambda: _bytes(read(_BLOCK)), b"")
    return itertools.chain([_bytes(first)], rest)


def _bytes(contents: object) -> bytes:
    if isinstance(contents, (bytes, bytearray, memoryview)):
        return bytes(contents)
    return str(contents).encode("utf-8", "backslashreplace")
