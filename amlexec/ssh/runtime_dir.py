"""A private folder for sockets and other files that live as long as a connection."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from amlexec import private_folders, temporaries
from amlexec.errors import TargetError

__all__ = ["named", "new_file", "runtime_folder"]

_LONGEST = 60
"""Bytes. A socket's path is limited to 104 on macOS and 108 on Linux; ssh adds 17 while it creates one."""
_OWNED = re.compile(r"[a-z]+-(?P<space>[0-9a-f]+)\.(?P<pid>\d+)-.+")
_NAMELESS = re.compile(r"(errors|log|s)-[0-9a-f]+|(key|keys|ask|attach|knock)-[a-z0-9_]{8}")
_LEFT_AGE_S = 86400.0
_FOUND: dict[tuple[str, str, int], Path] = {}
"""The folder that this process has chosen, by the variables that decide it."""


def runtime_folder() -> Path:
    """The folder, created if missing: $XDG_RUNTIME_DIR/amlexec, else /tmp/amlexec-UID, else another.

    Raises:
        TargetError: no such folder can be created.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    key = (given, os.environ.get("HOME", ""), os.getuid())
    usual = Path("/tmp", f"amlexec-{os.getuid()}")  # noqa: S108 - its owner is checked
    # The variable may name another user's folder: `su` keeps it.
    candidates = [Path(given, "amlexec"), usual] if given else [usual]
    if (found := _FOUND.get(key)) is not None and private_folders.is_private(found):
        return found
    _FOUND[key] = private_folders.first_of(candidates, "run", _LONGEST)
    _sweep(_FOUND[key])
    return _FOUND[key]


def named(prefix: str) -> str:
    """The beginning of a file name in that folder, for a file that must not outlive this process."""
    # Without the machine's name, which would make the path of a socket too long; the folder is local.
    space = temporaries.owner().split("_")[-2]
    return f"{prefix}-{space[-6:]}.{os.getpid()}-"


def _sweep(folder: Path) -> None:
    """Remove files that killed processes have left, such as keys. Called once per process."""
    ours = named("").split(".")[0]
    with os.scandir(folder) as entries:
        for entry in entries:
            if found := _OWNED.fullmatch(entry.name):
                is_left = f"-{found['space']}" == ours and not temporaries.lives(int(found["pid"]))
            else:
                # Written by a version whose file names don't contain the process.
                with contextlib.suppress(OSError):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    is_left = _NAMELESS.fullmatch(entry.name) is not None and age > _LEFT_AGE_S
            if is_left:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def new_file(prefix: str) -> tuple[int, Path]:
    """A new file in that folder, open for reading and writing, and its path. Raises TargetError."""
    path = runtime_folder() / f"{named(prefix)}{os.urandom(8).hex()}"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
    except OSError as error:
        raise TargetError(
            f"a file for the connection can't be created: {error.strerror}", where=str(path)
        ) from None
