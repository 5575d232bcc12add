"""Metrics and files of the run that this script is part of. CPython 3.5 and later, no dependencies.

    from amlexec.run import log, upload

    log("accuracy", 0.97)
    upload("report/summary.txt", "3 classes, 150 rows")

Inside a run, the variable `AMLEXEC_RUN_FOLDER` is the absolute path of the run's folder. Each `log`
appends one line to `metrics.jsonl` there:

    {"name": "accuracy", "value": 0.97, "time": 1521077190.506}

`time` is in seconds since 1970, UTC. The line is ASCII JSON that a reader in any language takes: NaN and
the infinities, which JSON lacks, are the strings "NaN", "Infinity" and "-Infinity", and an integer of 64
bits or more is its digits as a string. It is written by one append, so processes and threads can log at
the same time, and the lines of each keep their order. A process that dies loses nothing that it logged; a
write cut short (a full disk) leaves a torn line, which readers pass over. Outside a run nothing is kept
and nothing is printed.

This folder is put on a run's PYTHONPATH. It holds `amlexec` without an `__init__.py` on purpose: a folder
like that gives way to an `amlexec` that is installed for the script's interpreter, and hides nothing of it.
"""

import atexit
import json
import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet

__all__ = ["Logged", "log", "upload"]

FOLDER = "AMLEXEC_RUN_FOLDER"
SYNC_INTERVAL_S = 1.0
"""Seconds: a training loop may log a thousand times a second, and a disk may need 10 ms to flush."""


class Logged:
    """The result of `log`: the recorded value, and `wait`."""

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = value

    def wait(self, timeout: object = None) -> None:  # noqa: ARG002 - it never waits long
        """Flush the value to the disk."""
        _RECORDER.sync()

    def __repr__(self) -> str:
        return "Logged({!r}, {!r})".format(self.name, self.value)


def log(name: object, value: object) -> Logged:
    """Keep a value as a metric of this run; the same name again makes a list of values.

    Numbers, strings, booleans, None, and lists and dictionaries of them are kept as they are; what has
    `tolist`, `item` or `numpy` (NumPy, PyTorch, TensorFlow, pandas) as the plain value it stands for; any
    other object as its text. Never raises, whatever the value or the state of the disk.
    """
    kept_name = _text(name)
    kept, encoded = _encoded(value)
    line = '{{"name": {}, "value": {}, "time": {!r}}}\n'.format(json.dumps(kept_name), encoded, time.time())
    _RECORDER.append(line.encode("ascii"))
    return Logged(kept_name, kept)


def upload(name: object, contents: object) -> None:
    """Keep text (as UTF-8) or bytes as the file `outputs/NAME` of this run.

    `name` is a relative path with `/`; a leading `outputs/` may be there or not. `contents` is a str, bytes,
    or a file open for reading. Raises ValueError where the name leads out of `outputs/`, in a run or not.
    """
    parts = _parts(_text(name))
    _RECORDER.store(parts, contents)


class _Recorder:
    """Writes into the run's folder; a failed write is reported once and never stops the script."""

    def __init__(self) -> None:
        self._warned = False
        self._synced = 0.0
        self._dirty = ""
        atexit.register(self.sync)

    def append(self, line: bytes) -> None:
        folder = os.environ.get(FOLDER)
        if not folder:
            return
        path = os.path.join(folder, "metrics.jsonl")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(descriptor, line) < len(line):
                    self._warn("a metric", "the disk is full")
                self._dirty = path
                now = time.monotonic()
                if now - self._synced >= SYNC_INTERVAL_S:
                    self._synced = now
                    self._dirty = ""
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            self._warn("a metric", error)

    def sync(self) -> None:
        """Flush what `append` has written."""
        path, self._dirty = self._dirty, ""
        if not path:
            return
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:
            self._warn("a metric", error)

    def store(self, parts: "list[str]", contents: object) -> None:
        folder = os.environ.get(FOLDER)
        if not folder:
            return
        path = os.path.join(folder, "outputs", *parts)
        # Written beside `outputs/` first, so that files in it are always complete.
        draft = os.path.join(folder, ".upload-{}-{}".format(os.getpid(), threading.get_ident()))
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                # Uploads are private, whatever the permissions of their source.
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(_bytes(contents))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(draft, path)
            except BaseException:
                if os.path.exists(draft):
                    os.unlink(draft)
                raise
        except (OSError, ValueError) as error:
            self._warn("the file outputs/{}".format("/".join(parts)), error)

    def _warn(self, what: str, why: object) -> None:
        if self._warned:
            return
        self._warned = True
        try:
            sys.stderr.write("amlexec: warning: {} could not be kept: {}\n".format(what, why))
            sys.stderr.flush()
        except Exception:  # stderr is missing or closed
            pass


_RECORDER = _Recorder()


def _parts(name: str) -> "list[str]":
    pieces = name.replace("\\", "/").split("/")
    parts = [piece for piece in pieces if piece not in ("", ".")]
    if not parts or not pieces[0] or ".." in parts or "\0" in name:
        raise ValueError("{!r} is not below outputs/: use a relative path, such as report/a.txt".format(name))
    if parts[0] == "outputs" and len(parts) > 1:
        del parts[0]
    return parts


def _bytes(contents: object) -> bytes:
    read = getattr(contents, "read", None)
    if callable(read):
        contents = read()
    if isinstance(contents, (bytes, bytearray, memoryview)):
        return bytes(contents)
    return str(contents).encode("utf-8", "backslashreplace")


def _encoded(value: object) -> "tuple[object, str]":
    """The plain value and its JSON."""
    try:
        plain = _plain(value)
        return plain, json.dumps(plain, allow_nan=False)
    except Exception:  # user objects may raise anything at all, cycles and depth included
        plain = _text(value)
        return plain, json.dumps(plain)


def _plain(value: object) -> object:
    """`value` as types of JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (str, bytes, bytearray)):
        return _text(value)
    if isinstance(value, int):
        whole = int(value)
        return whole if whole.bit_length() < 64 else _text(whole)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item) for item in value), key=str)
    for method in ("tolist", "item", "numpy"):
        convert = getattr(value, method, None)
        if callable(convert):
            plain = convert()
            if type(plain) is not type(value):  # numpy.longdouble.item returns itself
                return _plain(plain)
    if isinstance(value, (Sequence, ValuesView)):
        return [_plain(item) for item in value]
    if hasattr(type(value), "__float__"):
        return _number(float(value))  # type: ignore[arg-type]
    return _text(value)


def _number(value: float) -> object:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _text(value: object) -> str:
    """`value` as text that can be written as UTF-8."""
    try:
        if isinstance(value, (bytes, bytearray)):
            return bytes(value).decode("utf-8", "backslashreplace")
        text = str.__str__(value) if isinstance(value, str) else str(value)
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # user objects may raise anything at all
        return "<{}>".format(type(value).__name__)
