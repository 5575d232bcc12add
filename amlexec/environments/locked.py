"""A package as a lock file and the value of an environment name it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Locked"]


class Locked(NamedTuple):
    """A package as a lock file names it."""

    kind: str
    """`conda` or `pypi`."""
    name: str
    version: str
    build: str
    address: str
    """Where it comes from, without secrets; of a file in the project, a path relative to its root."""
    sha256: str
    """Of the package; `md5:...` where the channel tells no other, "" of a folder with sources."""
