"""A cache of environment digests, valid as long as no input file was touched.

A stamp lists every input file of a digest with its stat data: device, inode, size, and both times. It is only
a hint for speed: without a valid stamp the files are read. The engine is asked in any case.
"""

from __future__ import annotations

import os
from contextlib import suppress

from amlexec import __version__, private_folders
from amlexec.files import read_regular, write_atomically
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.values import Project

__all__ = ["Stamp", "clock", "keep", "recall"]

# ruff: noqa: PTH108, PTH112, PTH116, PTH118, PTH120 - pathlib costs a no-op 3 ms

_FORM = 2
_GRAIN = 2_000_000_000
"""In nanoseconds. A file that was just touched may be touched again without a change of its times."""
_RECIPE = os.path.join(os.path.dirname(__file__), "spec.py")
_END = "whole"
_LARGEST = 64 << 20


class Stamp(NamedTuple):
    """The cached result for a run configuration."""

    kind: str
    """The kind of its compute target."""
    target: str
    """The name of its compute target."""
    digest: str
    """The digest of its environment; "" if it needs none."""


def recall(project: Project, name: str) -> Stamp | None:
    """The stamp of a run configuration, if it exists and none of its files was touched; else None."""
    try:
        text = read_regular(_path(project, name), _LARGEST, follow=False).decode("utf-8")
        head, result, *lines = text.splitlines()
    except (OSError, ValueError):
        return None
    if head != _head() or not lines or lines[-1] != _END:
        return None
    if any(line != _line(line.rpartition("\t")[2]) for line in lines[:-1]):
        return None
    parts = result.split("\t")
    return Stamp(*parts) if len(parts) == len(Stamp._fields) else None


def clock(project: Project) -> int:
    """The current time of the project's file system, for `keep`: the time of a new file on it."""
    path = f"{project.state}/environments/.clock-{os.getpid()}"
    try:
        private_folders.make(os.path.dirname(path))
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        return 0  # then `keep` keeps nothing
    try:
        return os.fstat(descriptor).st_ctime_ns
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(path)


def keep(project: Project, name: str, stamp: Stamp, files: Iterable[str], began: int) -> None:
    """Store a stamp for these files, which were read after `began` (see `clock`).

    Files are absolute; some may not exist. Stores nothing if one of them is a folder, contains variables, or
    was touched just now.
    """
    lines = []
    for path in sorted({*files, _RECIPE}):
        if "\n" in path or "\t" in path or os.path.isdir(path) or _has_variables(path):
            return
        lines.append(_line(path))
        if not lines[-1].startswith("-") and int(lines[-1].split(" ", 1)[0]) > began - _GRAIN:
            return
    text = "\n".join([_head(), "\t".join(stamp), *lines, _END, ""])
    # A full disk, or a path that is no text: then nothing is kept.
    with suppress(OSError, ValueError):
        write_atomically(_path(project, name), text.encode(), durable=False)


def _path(project: Project, name: str) -> str:
    return f"{project.state}/environments/{name}.stamp"


def _head() -> str:
    # `~` depends on the user, and the platform depends on this machine's processor.
    return " ".join(map(repr, (_FORM, __version__, os.uname().machine, os.environ.get("HOME"))))


def _line(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return f"-\t{path}"
    times = f"{status.st_ctime_ns} {status.st_mtime_ns}"
    return f"{times} {status.st_size} {status.st_ino} {status.st_dev}\t{path}"


def _has_variables(path: str) -> bool:
    if path == _RECIPE or path.endswith((".whl", ".gz", ".tgz", ".zip", ".bz2", ".xz", ".tar")):
        return False
    try:
        return b"${" in read_regular(path, _LARGEST)
    except FileNotFoundError:
        return False
    except OSError:
        return True
