"""A lock between what begins to use snapshots and environments, and what removes them.

A submission finds an environment and takes a snapshot some time before the record of its run names them; a
build publishes an environment before anything names it. Meanwhile they share the lock `.amlexec/in-use.lock`,
and `amlexec gc`, which removes what nothing names, waits until it can have the lock alone.
"""

from __future__ import annotations

import contextlib
import time

from amlexec import locks, private_folders
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.values import Project

__all__ = ["claimed", "unclaimed"]

_CLAIM_TIMEOUT_S = 3600.0
_LONGEST_INTERVAL_S = 0.05


@contextlib.contextmanager
def claimed(project: Project) -> Iterator[None]:
    """While in the block, nothing is removed that nothing names yet. Several processes may be in it.

    Raises:
        TargetError: the lock's file can't be made, or something has been removing for an hour.
    """
    lock = _waited_for(project, locks.take_shared, _CLAIM_TIMEOUT_S)
    if lock is None:
        raise TargetError("another process has been removing unused files for an hour", where=_path(project))
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def unclaimed(project: Project, timeout: float) -> Iterator[bool]:
    """While in the block, no process is in `claimed`: True. False if that did not come true in `timeout` s.

    Raises:
        TargetError: the lock's file can't be made.
    """
    lock = _waited_for(project, locks.take, timeout)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def _waited_for(
    project: Project, take: Callable[[str], locks.Held | None], timeout: float
) -> locks.Held | None:
    deadline = time.monotonic() + timeout
    pause = 0.001
    try:
        private_folders.make(project.state)
        while (lock := take(_path(project))) is None and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_INTERVAL_S)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TargetError(
            f"cannot write {_path(project)}: {why}",
            hint="amlexec stores its records there: make the folder writable, or free some space",
        ) from error
    return lock


def _path(project: Project) -> str:
    return f"{project.state}/in-use.lock"
