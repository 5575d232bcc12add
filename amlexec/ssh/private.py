"""A folder that only its owner can enter, for sockets and what lives as long as a connection."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from amlexec.errors import TargetError

__all__ = ["new_file", "runtime_folder"]

_LONGEST = 60
"""Bytes. A socket's path has 104 on macOS, 108 on Linux; ssh adds 17 to the name while it makes one."""


def runtime_folder() -> Path:
    """The folder, made where it is missing.

    Raises:
        TargetError: it belongs to somebody else, or others can enter it.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    # It may be named and not be there: `su` keeps the variable of another user.
    if given and os.access(given, os.W_OK) and len(os.fsencode(given)) + len("/amlexec") <= _LONGEST:
        folder = Path(given, "amlexec")
    else:
        folder = Path("/tmp", f"amlexec-{os.getuid()}")  # noqa: S108 - checked below
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise TargetError(
            f"the folder for connections can't be made: {error.strerror}",
            where=str(folder),
            hint="set XDG_RUNTIME_DIR to a folder of your own with a short path",
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise TargetError(
            "the folder for connections is not ours alone, so that others could use them",
            where=str(folder),
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of your own with a short path",
        )
    return folder


def new_file(prefix: str) -> tuple[int, Path]:
    """A new file in that folder, open to be read and written, and its path. Raises TargetError."""
    path = runtime_folder() / f"{prefix}-{os.urandom(8).hex()}"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
    except OSError as error:
        raise TargetError(
            f"no file can be made for a connection: {error.strerror}", where=str(path)
        ) from None
