"""The lock of a build on an engine, and the removal of containers that killed builds left.

The lock works between the processes of one user on one machine; it ends with its holder. Other users, and
containers with the engine's socket, don't see it: they may build the same thing a second time, which is
harmless, because containers of a process that may be alive are never removed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import locks, private_folders
from amlexec.docker import containers
from amlexec.docker.labels import BUILDING, MAKER
from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.docker.client import Engine
    from amlexec.progress import Progress

__all__ = ["left", "locked", "me", "sweep"]

_TURN_TIMEOUT_S = 3600.0
"""How long to wait for another process that builds the same thing."""
_LEFT_AGE_S = 86400.0
"""Age from which another machine's build container counts as a leftover."""


@contextlib.contextmanager
def locked(engine: Engine, what: str, making: str, progress: Progress) -> Iterator[None]:
    """Lock the build of `what` (a digest); `making` describes the build to a user who waits.

    Raises:
        TargetError: another process has held the lock for an hour.
    """
    path = _file(engine, what)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.exclusive(str(path), 0.0))
        except TargetError:
            if not path.exists():
                raise
            progress.step(_waiting(path, making))
            stack.enter_context(locks.exclusive(str(path), _TURN_TIMEOUT_S))
        yield


def _waiting(path: Path, making: str) -> str:
    who = path.read_text("ascii", "replace").strip()
    since = time.strftime("%H:%M:%S", time.localtime(path.stat().st_mtime))
    return f"waiting for process {who or '(starting)'}, which {making} since {since}"


def _file(engine: Engine, what: str) -> Path:
    from amlexec.digest import of_bytes

    # Not in the cache folder: AMLEXEC_CACHE may differ between processes that use the same engine.
    usual = Path(tempfile.gettempdir(), f"amlexec-locks-{os.getuid()}")
    folder = private_folders.first_of([usual], "locks")
    return folder / f"{of_bytes(engine.address.encode())[:8]}-{what[:20]}"


def sweep(engine: Engine, what: str = "") -> int:
    """Remove the build containers of killed processes; how many. The caller holds the lock for `what`.

    Containers of other builds are removed too if their process is gone: those may never be built again.
    """
    found = left(engine, what)
    for container in found:
        containers.remove(engine, container, force=True)
    return len(found)


def left(engine: Engine, what: str = "") -> list[str]:
    """The ids of the build containers of killed processes; `what` as in `sweep`."""
    found = containers.find(engine, {BUILDING: ""})
    return [str(container["Id"]) for container in found if _is_over(container, what)]


def me() -> str:
    """A unique name of this process: machine, boot id, process id, start of the process."""
    return f"{socket.gethostname()}/{_boot()}/{os.getpid()}/{_born(os.getpid())}"


def _is_over(container: dict[str, object], what: str) -> bool:
    """Whether the process that created a container has ended; on another machine, judged by age."""
    labels = container.get("Labels")
    maker = str(labels.get(MAKER, "") if isinstance(labels, dict) else "").split("/")
    mine = me().split("/")
    if len(maker) != len(mine) or maker[0] != mine[0]:
        created = container.get("Created")
        is_ours = isinstance(labels, dict) and labels.get(BUILDING) == what
        longest = _TURN_TIMEOUT_S if is_ours else _LEFT_AGE_S
        return isinstance(created, int) and time.time() - created > longest
    return maker[1] != mine[1] or not maker[2].isdecimal() or _born(int(maker[2])) != maker[3]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # not Linux
        return ""


def _born(pid: int) -> str:
    """The start of a process, in kernel ticks; "gone" if it has ended, "" if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return "gone"
        except PermissionError:
            pass
        return ""
    return "gone" if fields[0] in "ZX" else fields[19]
