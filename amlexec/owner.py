"""A unique name for a project, to mark what it owns on shared engines and machines."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.values import Project

__all__ = ["owner_of"]

_MOST = 40
"""Characters of the project's name in it, for readers."""


def owner_of(project: Project) -> str:
    """The project's name, and a hash of this machine and the project's folder."""
    place = f"{_machine()}\0{project.place}"
    return f"{project.name[:_MOST]}-{hashlib.sha256(place.encode(errors='surrogateescape')).hexdigest()[:12]}"


def _machine() -> str:
    try:
        # machine-id(5): confidential, so only its hash may be published.
        machine_id = Path("/etc/machine-id").read_text("ascii").strip()
    except OSError:
        machine_id = ""
    if machine_id:
        return machine_id
    import uuid

    return f"{uuid.getnode():x}"
