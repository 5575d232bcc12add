"""The objects in the snapshots' repository: their sizes, and which trees need them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import git
from amlexec.snapshots import store as snapshot_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from amlexec.snapshots.store import Store
    from amlexec.values import Project

__all__ = ["Latest", "SnapshotUsage", "latest", "reachable", "usage"]


class Latest(NamedTuple):
    """What the next snapshot builds on."""

    tree: str
    """Of the latest snapshot; "" if there is none."""
    blobs: tuple[str, ...]
    """Of the files in the index, which may differ from that tree if a process was killed."""

    @property
    def roots(self) -> list[str]:
        """Ids of objects that have to stay."""
        return [self.tree, *self.blobs] if self.tree else [*self.blobs]


class SnapshotUsage(NamedTuple):
    """Disk space of the snapshots, in bytes."""

    latest: str
    """The tree of the latest snapshot; "" if there is none."""
    of_latest: int
    of_tree: dict[str, int]
    """What each tree adds to the latest snapshot and to the trees before it. Missing trees are left out."""
    unneeded: int
    """Objects that belong to none of them."""


def latest(store: Store) -> Latest:
    """What the next snapshot builds on; the store is locked."""
    taken = store.latest()
    try:
        listed = git.git(
            ["ls-files", "--stage", "-z"], folder=store.folder, environment=store.environment("/")
        )
    except git.GitError:
        listed = b""  # the index is damaged: the next snapshot makes it again
    blobs = {entry.split(b" ", 2)[1].decode() for entry in listed.split(b"\0") if entry}
    return Latest(taken.tree if taken is not None else "", tuple(sorted(blobs)))


def usage(project: Project, trees: Sequence[str]) -> SnapshotUsage:
    """The disk space of the snapshots; `trees` are all trees that count, the longest needed first.

    Raises:
        TargetError: git fails, or the repository is damaged.
    """
    folder = snapshot_store.folder_of(project)
    if not folder.is_dir():
        return SnapshotUsage("", 0, {}, 0)
    with snapshot_store.opened(project) as store:
        base = latest(store)
    variables = store.environment("/")
    listing = git.start(
        ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname) %(objectsize:disk)"],
        folder=str(folder),
        environment=variables,
    )
    first = [object_id for object_id, _ in reachable(folder, variables, base.roots)]
    rest = [object_id for object_id, _ in reachable(folder, variables, trees)]
    lines = git.finish(listing).stdout.decode("ascii").splitlines()
    sizes = {object_id: int(size) for object_id, _, size in (line.partition(" ") for line in lines)}
    of_latest = sum(sizes.pop(object_id, 0) for object_id in first)
    roots = {tree for tree in trees if tree in sizes or tree in first}
    of_tree = dict.fromkeys(roots, 0)
    tree = ""
    for object_id in rest:
        tree = object_id if object_id in roots else tree
        if tree:
            of_tree[tree] += sizes.pop(object_id, 0)
    return SnapshotUsage(base.tree, of_latest, of_tree, sum(sizes.values()))


def reachable(folder: Path, variables: Mapping[str, str], roots: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Ids and names of all objects that these trees and blobs need, each once, in the order of the roots.

    Missing objects are left out.

    Raises:
        TargetError: git fails.
    """
    text = "".join(f"{root}\n" for root in roots)
    if not text:
        return
    output = git.git(
        ["rev-list", "--objects", "--ignore-missing", "--missing=allow-any", "--stdin"],
        folder=str(folder),
        environment=variables,
        input=text.encode("ascii"),
    )
    for line in output.split(b"\n"):
        if line:
            object_id, _, name = line.partition(b" ")
            yield object_id.decode("ascii"), os.fsdecode(name)
