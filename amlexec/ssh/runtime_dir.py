"""A folder that only its owner can enter, for sockets and what lives as long as a connection."""

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
"""Bytes. A socket's path has 104 on macOS, 108 on Linux; ssh adds 17 to the name while it makes one."""
_OWNED = re.compile(r"[a-z]+-(?P<space>[0-9a-f]+)\.(?P<pid>\d+)-.+")
_NAMELESS = re.compile(r"(errors|log|s)-[0-9a-f]+|(key|keys|ask|attach|knock)-[a-z0-9_]{8}")
_LEFT_AGE_S = 86400.0
_FOUND: dict[tuple[str, str, int], Path] = {}
"""Where looking further than the usual places has led, in this process."""


def runtime_folder() -> Path:
    """The folder, made where it is missing: $XDG_RUNTIME_DIR/amlexec, else /tmp/amlexec-UID, else another.

    Raises:
        TargetError: none can be made.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    key = (given, os.environ.get("HOME", ""), os.getuid())
    usual = Path("/tmp", f"amlexec-{os.getuid()}")  # noqa: S108 - it is looked whose it is
    # It may be named and not be ours: `su` keeps the variable of another user.
    wanted = [Path(given, "amlexec"), usual] if given else [usual]
    if (found := _FOUND.get(key)) is not None and private_folders.is_private(found):
        return found
    _FOUND[key] = private_folders.first_of(wanted, "run", _LONGEST)
    _sweep(_FOUND[key])
    return _FOUND[key]


def named(prefix: str) -> str:
    """The beginning of a name in that folder, of something that is to live no longer than this process."""
    # The folder is of one machine: its name would make the path of a socket too long.
    space = temporaries.owner().split("_")[-2]
    return f"{prefix}-{space[-6:]}.{os.getpid()}-"


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left, keys among it. Once for each process of ours."""
    ours = named("").split(".")[0]
    with os.scandir(folder) as entries:
        for entry in entries:
            if found := _OWNED.fullmatch(entry.name):
                is_left = f"-{found['space']}" == ours and not temporaries.lives(int(found["pid"]))
            else:
                # Of a version that did not say whose it is.
                with contextlib.suppress(OSError):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    is_left = _NAMELESS.fullmatch(entry.name) is not None and age > _LEFT_AGE_S
            if is_left:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def new_file(prefix: str) -> tuple[int, Path]:
    """A new file in that folder, open to be read and written, and its path. Raises TargetError."""
    path = runtime_folder() / f"{named(prefix)}{os.urandom(8).hex()}"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
    except OSError as error:
        raise TargetError(
            f"no file can be made for a connection: {error.strerror}", where=str(path)
        ) from None
