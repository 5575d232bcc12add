"""A unique name for a project, to mark what it owns on shared engines and machines."""

from __future__ import annotations

import re
from pathlib import Path

from amlexec.light_typing import TYPE_CHECKING
from amlexec.sha256 import sha256

if TYPE_CHECKING:
    from amlexec.values import Project

__all__ = ["owner_of", "plain", "resource_name"]

_LONGEST, _HASH = 63, 10
_LONGEST_TAG = 100
_MOST = 40
"""Characters of the project's name in it, for readers."""
_NO_WORD = re.compile(r"[\x00-\x1f\x7f\\]|^ ")
"""What the shell of a machine would not read from a file as it was written: it reads a line."""


def owner_of(project: Project) -> str:
    """The project's name, in a line, and a hash of this machine and the project's folder."""
    place = f"{_machine()}\0{project.place}"
    name = _NO_WORD.sub("-", project.name[:_MOST])
    return f"{name}-{sha256(place.encode(errors='surrogateescape')).hexdigest()[:12]}"


def plain(text: str) -> str:
    """A text as tags, labels and headers of services take it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_LONGEST_TAG]


def resource_name(run_id: str, owner: str) -> str:
    """A name for what a run has in a service, which no other run has: a DNS label."""
    unique = sha256(f"{owner}\0{run_id}".encode(errors="surrogateescape")).hexdigest()[:_HASH]
    readable = re.sub(r"[^a-z0-9]+", "-", run_id.lower()).strip("-")[: _LONGEST - _HASH - 9].strip("-")
    return "-".join(part for part in ("amlexec", readable, unique) if part)


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
