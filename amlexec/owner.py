"""Whose something is, where others may be too: a folder of one machine, as nobody else is called."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.model import Project

__all__ = ["owner_of"]

_MOST = 40
"""Letters of the project's name that are kept, for whoever reads it."""


def owner_of(project: Project) -> str:
    """What a project in a folder of this machine is called on engines and machines: its name and a hash."""
    told = f"{_machine()}\0{project.root}"
    return f"{project.name[:_MOST]}-{hashlib.sha256(told.encode(errors='surrogateescape')).hexdigest()[:12]}"


def _machine() -> str:
    try:
        # machine-id(5): not to be told, only what a hash makes of it.
        known = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        known = ""
    if known:
        return known
    import uuid

    return f"{uuid.getnode():x}"
