"""Decide what is removed. Pure: an inventory and rules in, a plan out.

An item is kept if it is pinned, if a kept item needs it, or if its role keeps it. The rest is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.gc.model import CACHE, EXTRA, LEFTOVER, PART, ROOT, RUN, Plan, Removed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from amlexec.gc.model import Item

__all__ = ["UNNEEDED", "made"]

UNNEEDED = "nothing that is kept needs it"
_ORDER = {CACHE: 0, EXTRA: 1, RUN: 2}
"""What goes first to get below a limit: what costs the least to have again."""
_MEMBERS = frozenset({PART, EXTRA})


def made(
    items: Iterable[Item],
    chosen: Mapping[str, str],
    *,
    spared: Mapping[str, str] | None = None,
    limit: int | None = None,
    unused_since: float | None = None,
) -> Plan:
    """The plan.

    Args:
        items: everything that there is.
        chosen: the keys of runs that the rules remove, and why.
        spared: the keys of runs that the rules keep even above the limit, and why.
        limit: the most bytes that may stay.
        unused_since: caches that were last used before this time are removed.
    """
    spared = spared or {}
    pool = _Pool(
        item._replace(pin=item.pin or (spared.get(item.key, "") if item.key not in chosen else ""))
        for item in items
    )
    for item in pool.all:
        if item.pin or item.role == ROOT:
            continue
        if item.role == LEFTOVER:
            pool.remove(item, "left behind by a process that has ended")
        elif item.role == RUN and item.key in chosen:
            pool.remove(item, chosen[item.key])
        elif item.role == CACHE and unused_since is not None and item.used < unused_since:
            pool.remove(item, "not used for that long")
    pool.remove_unneeded()
    if limit is not None:
        _get_below(pool, limit)
    return Plan(tuple(pool.removed), tuple(pool.left.values()), limit)


def _get_below(pool: _Pool, limit: int) -> None:
    held = pool.of_roots()
    candidates = [
        item for item in pool.left.values() if item.role in _ORDER and not item.pin and item.key not in held
    ]
    candidates.sort(key=lambda item: (_ORDER[item.role], item.used, item.key))
    for item in candidates:
        if pool.size <= limit:
            return
        if item.key in pool.left:
            pool.remove(item, "to get below the limit")
            pool.remove_unneeded()


class _Pool:
    """What is left. Counts for each item how many that are left need it, so that each removal is cheap."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.all = tuple(items)
        self.left = {item.key: item for item in self.all}
        self.removed: list[Removed] = []
        self.size = sum(item.size for item in self.left.values())
        self._needed = dict.fromkeys(self.left, 0)
        for item in self.left.values():
            for key in item.needs:
                if key in self._needed:
                    self._needed[key] += 1
        self._unneeded = [item for item in self.left.values() if self._may_go(item)]

    def of_roots(self) -> set[str]:
        """The keys of what a ROOT needs, also through others: it stays even above a limit."""
        found: set[str] = set()
        waiting = [key for item in self.left.values() if item.role == ROOT for key in item.needs]
        while waiting:
            key = waiting.pop()
            if key in self.left and key not in found:
                found.add(key)
                waiting += self.left[key].needs
        return found

    def _may_go(self, item: Item) -> bool:
        return item.role in _MEMBERS and not item.pin and self._needed[item.key] == 0

    def remove(self, item: Item, reason: str) -> None:
        if self.left.pop(item.key, None) is None:
            return
        self.removed.append(Removed(item, reason))
        self.size -= item.size
        for key in item.needs:
            if key in self._needed:
                self._needed[key] -= 1
                if (below := self.left.get(key)) is not None and self._may_go(below):
                    self._unneeded.append(below)

    def remove_unneeded(self) -> None:
        while self._unneeded:
            self.remove(self._unneeded.pop(), UNNEEDED)
