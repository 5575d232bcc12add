"""The digest of an environment whose files have not been touched, without reading them again.

A stamp names every file that a digest followed from and what the file system said of it: device, inode,
size, and both times. It is a hint for speed: one that is not there, or doesn't hold, costs a reading. What
the engine has is asked all the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from amlexec import __version__, private_folders, temporaries
from amlexec.files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.model import Project

__all__ = ["Stamp", "clock", "keep", "recall"]

# ruff: noqa: PTH105, PTH108, PTH112, PTH116, PTH118, PTH120 - pathlib costs a no-op 3 ms

_FORM = 2
_GRAIN = 2_000_000_000
"""Nanoseconds. A file that was touched a moment ago may be touched again without its times telling so."""
_RECIPE = os.path.join(os.path.dirname(__file__), "spec.py")
_END = "whole"
_LARGEST = 64 << 20


class Stamp(NamedTuple):
    """What the files of a run configuration come to."""

    kind: str
    """Of its compute target."""
    target: str
    """The name of that."""
    digest: str
    """Of its environment; "" where there is none to prepare."""


def recall(project: Project, name: str) -> Stamp | None:
    """What a run configuration comes to, if none of its files was touched since; None where nobody knows."""
    try:
        said = read_regular(_path(project, name), _LARGEST, follow=False).decode("utf-8")
        head, told, *lines = said.splitlines()
    except (OSError, ValueError):
        return None
    if head != _head() or not lines or lines[-1] != _END:
        return None
    if any(line != _line(line.rpartition("\t")[2]) for line in lines[:-1]):
        return None
    parts = told.split("\t")
    return Stamp(*parts) if len(parts) == len(Stamp._fields) else None


def clock(project: Project) -> int:
    """The time as the project's file system has it, for `keep`: what it says of a file that is made now."""
    path = f"{project.state}/environments/.clock-{os.getpid()}"
    try:
        private_folders.make(os.path.dirname(path))
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        return 0  # then nothing is kept
    try:
        return os.fstat(descriptor).st_ctime_ns
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(path)


def keep(project: Project, name: str, stamp: Stamp, files: Iterable[str], began: int) -> None:
    """Remember what was read from these files after `began` (see `clock`).

    Files are absolute; some may not be there. Nothing is kept of folders, of files with variables in them,
    and of what was touched only just now.
    """
    lines = []
    for path in sorted({*files, _RECIPE}):
        if "\n" in path or "\t" in path or os.path.isdir(path) or _has_variables(path):
            return
        lines.append(_line(path))
        if not lines[-1].startswith("-") and int(lines[-1].split(" ", 1)[0]) > began - _GRAIN:
            return
    path = _path(project, name)
    folder, _, last = path.rpartition("/")
    beside = f"{folder}/.{last}.{temporaries.owner()}-0.new"
    try:
        with open(beside, "w", encoding="utf-8", opener=private_folders.opener) as file:
            file.write("\n".join([_head(), "\t".join(stamp), *lines, _END, ""]))
        os.replace(beside, path)
    except (OSError, ValueError):
        with suppress(OSError):
            os.unlink(beside)


def _path(project: Project, name: str) -> str:
    return f"{project.state}/environments/{name}.stamp"


def _head() -> str:
    # `~` in a path means another folder for another user, and a machine prepares for its own processor.
    return " ".join(map(repr, (_FORM, __version__, os.uname().machine, os.environ.get("HOME"))))


def _line(path: str) -> str:
    try:
        told = os.stat(path)
    except OSError:
        return f"-\t{path}"
    return f"{told.st_ctime_ns} {told.st_mtime_ns} {told.st_size} {told.st_ino} {told.st_dev}\t{path}"


def _has_variables(path: str) -> bool:
    if path == _RECIPE or path.endswith((".whl", ".gz", ".tgz", ".zip", ".bz2", ".xz", ".tar")):
        return False
    try:
        return b"${" in read_regular(path, _LARGEST)
    except FileNotFoundError:
        return False
    except OSError:
        return True
