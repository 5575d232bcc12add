"""Which conda packages of an environment are in which layer of its image.

Python and all that it needs are at the bottom, then pip and what that needs, then the rest. Environments with
the same Python share the lower layers; they seldom change, and are most of what a small environment has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rattler import RepoDataRecord

__all__ = ["stacked"]

_NAME = re.compile(r"(?:[^\s\[]*::)?([\w.-]+)")
_SHARED = ("python", "pip")
"""The packages that begin a layer, from the bottom; each layer includes the ones below."""


def stacked(records: Sequence[RepoDataRecord]) -> tuple[tuple[RepoDataRecord, ...], ...]:
    """The packages in an image after each of its conda layers; the last are all `records`.

    Every part is complete: it has all that its packages depend on. All have the order of `records`.
    """
    by_name = {record.name.normalized: record for record in records}
    parts: list[tuple[RepoDataRecord, ...]] = []
    names: set[str] = set()
    for name in _SHARED:
        if name in by_name:
            names |= _needed(name, by_name)
            part = tuple(record for record in records if record.name.normalized in names)
            # A record without a checksum is not sure to be the same package in another environment.
            if all(record.sha256 for record in part) and part not in parts:
                parts.append(part)
    whole = tuple(records)
    return (*(part for part in parts if part != whole), whole)


def _needed(name: str, by_name: dict[str, RepoDataRecord]) -> set[str]:
    """A package and all that it depends on."""
    found: set[str] = set()
    rest = [name]
    while rest:
        name = rest.pop()
        if name in by_name and name not in found:  # others are virtual, such as `__glibc`
            found.add(name)
            rest += [match[1] for text in by_name[name].depends if (match := _NAME.match(text.strip()))]
    return found
