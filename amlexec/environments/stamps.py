"""The digest of dependencies whose files have not been touched, without reading them again.

A stamp names every file that a digest followed from and what the file system said of it: device, inode,
size, and both times. It is a hint for speed: one that is not there, or doesn't hold, costs a reading. What
the engine has is asked all the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from amlexec import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.model import ComputeTarget, Project

__all__ = ["clock", "keep", "recall"]

# ruff: noqa: PTH103, PTH105, PTH108, PTH112, PTH116, PTH118, PTH120, PTH123 - pathlib costs a no-op 3 ms

_FORM = 1
_GRAIN = 2_000_000_000
"""Nanoseconds. A file that was touched a moment ago may be touched again without its times telling so."""
_RECIPE = os.path.join(os.path.dirname(__file__), "spec.py")


def _path(project: Project, target: ComputeTarget, dependencies_file: str) -> str:
    from hashlib import sha256

    # Of the target everything, though few keys count today: a key that comes to count must not be forgotten.
    told = target._replace(name="", place=None)  # type: ignore[arg-type]
    parts = (_FORM, __version__, os.uname().machine, os.environ.get("HOME"), dependencies_file, *told)
    name = sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape")).hexdigest()[:20]
    return f"{project.state}/environments/{name}.stamp"


def recall(project: Project, target: ComputeTarget, dependencies_file: str) -> str:
    """The digest of an environment, if none of its files was touched since; "" where that isn't known."""
    try:
        with open(_path(project, target, dependencies_file), encoding="utf-8") as file:
            digest, *lines = file.read().splitlines()
    except (OSError, ValueError):
        return ""
    if not lines or lines[-1] != digest:  # a file that was not written whole
        return ""
    return digest if all(line == _line(line.rpartition("\t")[2]) for line in lines[:-1]) else ""


def clock(project: Project) -> int:
    """The time as the project's file system has it, for `keep`: what it says of a file that is made now."""
    path = f"{project.state}/environments/.clock-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        return 0  # then nothing is kept
    try:
        return os.fstat(descriptor).st_ctime_ns
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(path)


def keep(
    project: Project,
    target: ComputeTarget,
    dependencies_file: str,
    digest: str,
    files: Iterable[str],
    began: int,
) -> None:
    """Remember the digest that was read from these files after `began` (see `clock`).

    `dependencies_file` is relative to the project's root; files that are not there may be among `files`.
    Nothing is kept of folders, of lines with variables in them, and of what was touched only just now.
    """
    lines = []
    for path in sorted({os.path.join(project.root, dependencies_file), *files, _RECIPE}):
        if "\n" in path or "\t" in path or os.path.isdir(path) or _has_variables(path):
            return
        lines.append(_line(path))
        if not lines[-1].startswith("-") and int(lines[-1].split(" ", 1)[0]) > began - _GRAIN:
            return
    path = _path(project, target, dependencies_file)
    beside = f"{path}.{os.getpid()}.new"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write("\n".join([digest, *lines, digest, ""]))
        os.replace(beside, path)
    except (OSError, ValueError):
        with suppress(OSError):
            os.unlink(beside)


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
        with open(path, "rb") as file:
            return b"${" in file.read()
    except FileNotFoundError:
        return False
    except OSError:
        return True
