"""Who makes something on an engine: one process at a time, and what is left of one that was killed.

The lock is for the processes of one user on one machine; it ends with its holder. Others may share the
engine without seeing the lock (other users, containers with the engine's socket in them): they may make the
same thing twice, and harm nobody, for containers of a maker that may be alive are left alone.
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

__all__ = ["me", "sweep", "turn"]

_TURN_TIMEOUT_S = 3600.0
"""How long another process may take to make the same thing before waiting for it is given up."""
_LEFT_AGE_S = 86400.0
"""How old what another machine is making has to be before it counts as left behind."""


@contextlib.contextmanager
def turn(engine: Engine, what: str, making: str, progress: Progress) -> Iterator[None]:
    """Be the only one who makes `what` (a digest); `making` says it in the sentence that a waiting user sees.

    Raises:
        TargetError: another process has been at it for an hour.
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

    # Not the cache: the engine is the same whatever AMLEXEC_CACHE says.
    usual = Path(tempfile.gettempdir(), f"amlexec-locks-{os.getuid()}")
    folder = private_folders.first_of([usual], "locks")
    return folder / f"{of_bytes(engine.address.encode())[:8]}-{what[:20]}"


def sweep(engine: Engine, what: str = "") -> int:
    """Remove what killed processes left of making something; how many. The caller has the turn for `what`.

    What is being made of something else, nobody may ever make again: it goes too where its maker is gone.
    """
    left = [one for one in containers.find(engine, {BUILDING: ""}) if _is_over(one, what)]
    for one in left:
        containers.remove(engine, one["Id"], force=True)
    return len(left)


def me() -> str:
    """This process, as nobody else will ever be called: machine, its start, process, its start."""
    return f"{socket.gethostname()}/{_boot()}/{os.getpid()}/{_born(os.getpid())}"


def _is_over(container: dict[str, object], what: str) -> bool:
    """Whether the process that made a container is gone; of another machine's, whether it must be."""
    labels = container.get("Labels")
    told = str(labels.get(MAKER, "") if isinstance(labels, dict) else "").split("/")
    mine = me().split("/")
    if len(told) != len(mine) or told[0] != mine[0]:
        created = container.get("Created")
        is_ours = isinstance(labels, dict) and labels.get(BUILDING) == what
        longest = _TURN_TIMEOUT_S if is_ours else _LEFT_AGE_S
        return isinstance(created, int) and time.time() - created > longest
    return told[1] != mine[1] or not told[2].isdecimal() or _born(int(told[2])) != told[3]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # not Linux
        return ""


def _born(pid: int) -> str:
    """When a process began, in the kernel's ticks; "gone" where there is none."""
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
