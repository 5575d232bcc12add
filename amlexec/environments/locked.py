"""A package in a lock file, and in the canonical value of an environment."""

from __future__ import annotations

from amlexec.light_typing import NamedTuple

__all__ = ["Locked"]


class Locked(NamedTuple):
    """A locked package."""

    kind: str
    """`conda` or `pypi`."""
    name: str
    version: str
    build: str
    address: str
    """Its source, without secrets; for a file in the project, a path relative to its root."""
    sha256: str
    """The package's; `md5:...` if the channel has no sha256, "" for a folder with sources."""
