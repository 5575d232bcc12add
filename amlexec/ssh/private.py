"""A folder that only its owner can enter, for sockets and what lives as long as a connection."""

from __future__ import annotations

import os
from pathlib import Path

from amlexec import private_folders
from amlexec.errors import TargetError

__all__ = ["new_file", "runtime_folder"]

_LONGEST = 60
"""Bytes. A socket's path has 104 on macOS, 108 on Linux; ssh adds 17 to the name while it makes one."""
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
    return _FOUND[key]


def new_file(prefix: str) -> tuple[int, Path]:
    """A new file in that folder, open to be read and written, and its path. Raises TargetError."""
    path = runtime_folder() / f"{prefix}-{os.urandom(8).hex()}"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
    except OSError as error:
        raise TargetError(
            f"no file can be made for a connection: {error.strerror}", where=str(path)
        ) from None
