"""strace, which records the system calls of a command; Debian's, installed where packages can be."""

from __future__ import annotations

import shutil

from .places import can_install
from .tools import MissingError, install

__all__ = ["is_there", "ready"]


def is_there() -> bool:
    """Whether it is installed."""
    return shutil.which("strace") is not None


def ready() -> None:
    """Have it. Raises ToolError."""
    if not can_install():
        raise MissingError("no strace: install it (Debian: apt install strace)")
    install("strace")
