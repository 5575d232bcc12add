"""What a clean-up has to know of each run: read fast, because a project may have ten thousand."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.errors import TargetError
from amlexec.history import find, tags
from amlexec.history.paths import RUNS, RunPaths
from amlexec.history.record import FINAL, STATUSES
from amlexec.runs import release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.values import Project

__all__ = ["RunFacts", "Usage", "has_tags", "is_digest", "read", "read_all", "tree_size", "usage"]

_LARGEST = 256 << 20
"""Bytes of a record, as in `amlexec.history.folders`."""
_TREE = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z")
_BLOCK = 512
"""Bytes of a block in what `stat` tells, whatever the file system has."""
_COPIES = ("project", "logged", "incoming")
"""A run's copy of the project, and what comes from its target."""


class RunFacts(NamedTuple):
    """A part of a run's record."""

    run_id: str
    status: str
    """"" if the record can't be read."""
    created_utc: str
    target: str
    target_kind: str
    tree: str
    """Of its snapshot; "" if none was taken yet."""
    digest: str
    """Of its environment; "" if the environment is the user's own."""
    metrics: dict[str, Any]
    has_uncollected: bool
    """Whether its copy of the project has outputs that are nowhere else."""
    lock: str = ""
    """The name of its environment's resolved lock; "" if there is none."""

    @property
    def is_finished(self) -> bool:
        """Whether its end is recorded."""
        return self.status in FINAL


class Usage(NamedTuple):
    """Disk space of a run's folder, in bytes."""

    kept: int
    """Record, logs and outputs."""
    copy: int
    """The run's copy of the project."""
    has_tags: bool
    is_due: bool = False
    """Whether a killed process has recorded its end, and not removed what the run no longer needs."""


def read_all(project: Project) -> Iterator[RunFacts]:
    """Every run of the project, in the order of ids. Raises TargetError: the runs can't be listed."""
    folder = f"{project.state}/{RUNS}"
    for run_id in find.ids(project):
        yield read(folder, run_id)


def read(folder: str, run_id: str) -> RunFacts:
    """The facts of a run in the folder of the runs."""
    try:
        return _facts(json.loads(_content(f"{folder}/{run_id}/run.json")), run_id)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return RunFacts(run_id, "", "", "", "", "", "", {}, False)


def _content(path: str) -> bytes:
    """As `files.read_regular`, with half of its system calls."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            raise OSError("it is not a record")
        return os.read(descriptor, status.st_size + 1)
    finally:
        os.close(descriptor)


def _facts(values: Any, run_id: str) -> RunFacts:
    """Raises an error if one of the values has another form than amlexec writes."""
    snapshot, metrics = values["snapshot"], values["metrics"]
    status, created = values["status"], values["created_utc"]
    target, kind = values["target"], values["target_kind"]
    tree = "" if snapshot is None else snapshot["tree"]
    digest = (values["environment_digest"] or "").removeprefix("sha256:")
    if values["run_id"] != run_id or status not in STATUSES or not _MOMENT.fullmatch(created):
        raise ValueError("it is not the record of this run")
    lock = values.get("environment_lock") or ""
    if (
        (lock and not _DIGEST.fullmatch(lock))
        or (tree and not _TREE.fullmatch(tree))
        or (digest and not _DIGEST.fullmatch(digest))
    ):
        raise ValueError("it has an invalid id")
    if not isinstance(target, str) or not isinstance(kind, str) or not isinstance(metrics, dict):
        raise TypeError("it has an invalid part")
    uncollected = any(output["kept"] for output in values.get("not_collected", ()))
    return RunFacts(run_id, status, created, target, kind, tree, digest, metrics, uncollected, lock)


def is_digest(text: str) -> bool:
    """Whether this is the digest of an environment."""
    return _DIGEST.fullmatch(text) is not None


def has_tags(project: Project, run_id: str) -> bool:
    """Whether the user has tagged the run. Unreadable tags count: they may say so."""
    try:
        return bool(tags.read(RunPaths.of(project, run_id)))
    except (OSError, TargetError):
        return True


def usage(folder: str) -> Usage:
    """The disk space of a run's folder. What can't be read, or vanishes meanwhile, is not counted."""
    kept = copy = 0
    tagged = due = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                blocks = entry.stat(follow_symlinks=False).st_blocks
                # Listing a folder tells what is a folder: cheaper than to look at the mode.
                if entry.is_dir(follow_symlinks=False):
                    names: list[str] | None = [] if entry.name == "control" else None
                    blocks += _blocks(entry.path, names)
                    due = due or (names is not None and release.DUE in names)
                if entry.name in _COPIES:
                    copy += blocks
                else:
                    kept += blocks
                    tagged = tagged or entry.name == "tags.jsonl"
    except OSError:
        pass
    return Usage(kept * _BLOCK, copy * _BLOCK, tagged, due)


def tree_size(folder: str) -> int:
    """The disk space of a folder's content, in bytes. Follows no link; unreadable parts are not counted."""
    return _blocks(folder) * _BLOCK


def _blocks(folder: str, names: list[str] | None = None) -> int:
    """The blocks of a folder's content; `names` gets the names of its files."""
    blocks = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if names is not None:
                        names.append(entry.name)
                    blocks += entry.stat(follow_symlinks=False).st_blocks
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
        finally:
            names = None
    return blocks
