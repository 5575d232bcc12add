"""The folders of a snapshot, and warnings about its files."""

from __future__ import annotations

import os
import posixpath
import stat

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.snapshots.index_entries import IndexEntry

__all__ = ["LARGE", "folders_of", "some", "warnings_of"]

LARGE = 300 * 1000**2
"""Size in bytes above which a snapshot warns."""


def warnings_of(root: bytes, entries: Iterable[IndexEntry], sizes: dict[str, int]) -> list[str]:
    """Warnings about a snapshot that is empty or large, or has links that lead out of it.

    `sizes` are in bytes by file name; `entries` are the same files, with names relative to `root`.
    """
    if not sizes:
        return ["the snapshot is empty: every file is ignored"]
    return [*_large(sizes), *_leaving(root, entries)]


def folders_of(names: Iterable[str]) -> list[str]:
    """Every folder of these files; "" is the root."""
    folders = {""}
    for folder in {name.rpartition("/")[0] for name in names}:
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]  # noqa: PLW2901 (upwards)
    return sorted(folders)


def _large(sizes: dict[str, int]) -> list[str]:
    total = sum(sizes.values())
    if total <= LARGE:
        return []
    what, largest = "files", _largest(sizes, total)
    if sum(size for _, size in largest) * 2 < total:  # thousands of small ones
        what, largest = "folders", _largest(_by_top_folder(sizes), total)
    named = ", ".join(f"{name} ({size / 1e6:,.0f} MB)" for name, size in largest)
    advice = "list in .amlignore what a run does not need"
    return [f"the snapshot holds {total / 1e6:,.0f} MB; the largest {what} are {named}: {advice}"]


def _largest(sizes: dict[str, int], total: int) -> list[tuple[str, int]]:
    """The largest, and up to four more that are each at least a hundredth of the total."""
    found = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:5]
    return [found[0], *(item for item in found[1:] if item[1] * 100 >= total)]


def _by_top_folder(sizes: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, size in sizes.items():
        folder = name.split("/", 1)[0] if "/" in name else "."
        found[folder] = found.get(folder, 0) + size
    return found


def _leaving(root: bytes, entries: Iterable[IndexEntry]) -> list[str]:
    """A warning about symbolic links whose target is outside of the snapshot's folder."""
    names = []
    for entry in entries:
        if not stat.S_ISLNK(entry.mode):
            continue
        try:
            target = os.readlink(b"%b/%b" % (root, entry.name))  # noqa: PTH115 (a name of bytes)
        except OSError:
            continue  # replaced meanwhile; the next snapshot has the new file
        place = posixpath.normpath(posixpath.join(posixpath.dirname(entry.name), target))
        if place.startswith((b"/", b"../")) or place == b"..":
            names.append(os.fsdecode(entry.name))
    return (
        [f"symbolic links lead out of the project, and are kept as they are: {some(names)}"] if names else []
    )


def some(names: Sequence[str]) -> str:
    """The first few of these names, for a message."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(name if name.isprintable() else ascii(name) for name in names[:5]) + more
