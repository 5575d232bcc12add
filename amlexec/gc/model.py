"""The values of a clean-up: what there is, what it needs, and what is to be removed."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CACHE", "EXTRA", "LEFTOVER", "PART", "ROOT", "RUN", "Inventory", "Item", "Plan", "Removed"]

ROOT = "root"
"""Never removed, such as a run that has not ended. Keeps what it needs."""
RUN = "run"
"""A finished run. Removed only if a rule on the command line says so."""
PART = "part"
"""Removed as soon as nothing that is kept needs it: an environment, a snapshot."""
EXTRA = "extra"
"""As a PART; also removed before any run to get below a limit, unless a ROOT needs it: a run's copy."""
CACHE = "cache"
"""Kept unless it is old, or to get below a limit: it can be downloaded or sent again."""
LEFTOVER = "leftover"
"""What a killed process left behind. Always removed."""


class Item(NamedTuple):
    """One thing that takes disk space, or that needs others."""

    key: str
    """Unique in an inventory."""
    kind: str
    """For users: `run`, `snapshot`, `environment` …"""
    role: str
    place: str
    """The name of a compute target, or "here"."""
    name: str
    size: int
    """In bytes: what is free once it is removed, and what only it needs."""
    needs: tuple[str, ...] = ()
    """Keys of a PART or an EXTRA. A key that is in no inventory is ignored."""
    pin: str = ""
    """Why it must not be removed, in a few words; "" if it may be."""
    used: float = 0.0
    """When it was last used, in seconds since 1970. Of two, the older one goes first."""
    digest: str = ""
    """Of the environment that it is, or a part of; runs with this digest need it."""
    run_id: str = ""
    """Of the run that it belongs to, on a target; that run needs it."""
    ids: tuple[str, ...] = ()
    """What it is called where it is, if that is not its name."""


class Inventory(NamedTuple):
    """All items, and what could not be looked up."""

    items: tuple[Item, ...]
    problems: tuple[Exception, ...] = ()


class Removed(NamedTuple):
    """An item that is to be removed."""

    item: Item
    reason: str


class Plan(NamedTuple):
    """What will be removed, and what stays."""

    removed: tuple[Removed, ...]
    """In this order."""
    kept: tuple[Item, ...]
    limit: int | None = None
    """The most bytes that may stay."""

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(each.item.size for each in self.removed)

    @property
    def left(self) -> int:
        """Bytes that stay."""
        return sum(item.size for item in self.kept)

    @property
    def excess(self) -> int:
        """Bytes above the limit that pins keep; 0 if the limit holds."""
        return 0 if self.limit is None else max(0, self.left - self.limit)
