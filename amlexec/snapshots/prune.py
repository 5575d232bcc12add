"""Remove the objects of snapshots that no run needs, and pack the rest, so that the repository shrinks.

The objects of the latest snapshot stay as they are, uncompressed: the next one reads them. All others go into
one pack, in which a version of a file is stored as its difference to another.

No moment is unsafe. The pack is written in a folder of its own, without any lock; it is on the disk, with its
folder, before anything is removed. Objects are only removed with both locks, that of `amlexec.in_use` and the
repository's, and after the roots were read again: what a snapshot has begun to use meanwhile stays.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import git, in_use, private_folders
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.files import sync_folder
from amlexec.snapshots import objects, pack_index
from amlexec.snapshots import store as snapshot_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.snapshots.objects import Latest
    from amlexec.snapshots.store import Store
    from amlexec.values import Project

__all__ = ["BUSY", "Pruned", "prune"]

BUSY = "a submit or a prepare is in progress"
_CLAIM_TIMEOUT_S = 5.0
_BATCH = 5000
"""Objects that are removed before others get the locks."""
# Levels above 1 save little, and take twice as long. Memory is bounded for projects with large files.
_SETTINGS = ("-c", "pack.compression=1", "-c", "pack.windowMemory=256m", "-c", "pack.writeReverseIndex=false")


class Pruned(NamedTuple):
    """The size of the snapshots, in bytes."""

    before: int
    after: int
    busy: str = ""
    """Why nothing was removed; "" if it was."""


def prune(project: Project, trees: Callable[[], set[str]]) -> Pruned:
    """Remove what neither those trees nor the latest snapshot need, and pack the rest.

    `trees` is called again when what is not needed is about to be removed.

    Raises:
        TargetError: git fails, the disk is full, or the repository is damaged. Nothing is lost then.
    """
    folder = snapshot_store.folder_of(project)
    if not folder.is_dir():
        return Pruned(0, 0)
    before = _size(folder)
    packing = folder / "packing"
    try:
        with _alone(project) as store:
            if store is None:
                return Pruned(before, before, BUSY)
            known = _Roots(trees(), objects.latest(store))
        packed = _pack(store, known, packing)
        if not _remove(project, trees, known, packed, packing):
            return Pruned(before, before, BUSY)
    except OSError as error:
        raise TargetError(
            f"the snapshots can't be packed: {error.strerror}",
            where=str(error.filename or folder),
            hint="nothing was lost; free some space, then try again",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            remove_tree(packing)
    # git's own: loose objects that the pack has, too.
    git.git(["prune-packed", "--quiet"], folder=str(folder), environment=store.environment("/"))
    return Pruned(before, _size(folder))


class _Roots(NamedTuple):
    trees: set[str]
    latest: Latest

    @property
    def all(self) -> set[str]:
        return {*self.trees, *self.latest.roots}


@contextlib.contextmanager
def _alone(project: Project) -> Iterator[Store | None]:
    """The locked repository while nothing claims objects; None if something does."""
    with in_use.unclaimed(project, _CLAIM_TIMEOUT_S) as is_ours:
        if not is_ours:
            yield None
            return
        with snapshot_store.opened(project) as store:
            yield store


def _pack(store: Store, roots: _Roots, packing: Path) -> set[str]:
    """Write the pack into `packing`, unless the repository has it already; the ids of its objects."""
    folder, variables = Path(store.folder), store.environment("/")
    remove_tree(packing)
    loose = _loose(folder)
    base = dict(objects.reachable(folder, variables, roots.latest.roots))
    wanted = {
        object_id: name
        for object_id, name in objects.reachable(folder, variables, sorted(roots.trees))
        if object_id not in base
    }
    # After a return to an old version, objects of the latest snapshot are in a pack only.
    wanted |= {object_id: name for object_id, name in base.items() if object_id not in loose}
    old = [{*pack_index.ids(index, store.id_size)} for index in _indexes(folder)]
    if not wanted or old == [wanted.keys()]:
        return {*wanted}
    private_folders.make(packing)
    lines = b"".join(b"%b %b\n" % (key.encode(), os.fsencode(name)) for key, name in wanted.items())
    git.git(
        [*_SETTINGS, "pack-objects", "--quiet", str(packing / "pack")],
        folder=str(folder),
        # So that its temporary files are where no other process removes them.
        environment={
            **variables,
            "GIT_OBJECT_DIRECTORY": str(packing),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(folder / "objects"),
        },
        input=lines,
    )
    return {*wanted}


def _remove(
    project: Project, trees: Callable[[], set[str]], known: _Roots, packed: set[str], packing: Path
) -> bool:
    """Publish the pack, then remove old packs and unneeded loose objects; False if others claim objects."""
    checked: _Roots | None = None
    needed: set[str] = set()
    while True:
        with _alone(project) as store:
            if store is None:
                return False
            now = _Roots(trees(), objects.latest(store))
            if checked is None:
                new = _publish(Path(store.folder), packing)
                _remove_packs(store, new, packed, _needed(store, now.all - known.all))
            if checked is None or checked.all != now.all:
                needed, checked = _needed(store, now.all), now
            unneeded = sorted(_loose(Path(store.folder)) - needed)
            for object_id in unneeded[:_BATCH]:
                _path(Path(store.folder), object_id).unlink(missing_ok=True)
            if len(unneeded) <= _BATCH:
                return True


def _needed(store: Store, roots: set[str]) -> set[str]:
    found = objects.reachable(Path(store.folder), store.environment("/"), sorted(roots))
    return {object_id for object_id, _ in found}


def _publish(folder: Path, packing: Path) -> set[str]:
    """Move the new pack to the others, durably; the names of its index."""
    target = folder / "objects/pack"
    private_folders.make(target)
    written = sorted(packing.glob("pack-*"), key=lambda path: path.suffix == ".idx")
    for path in written:
        _sync(path)
        # The index comes last: git uses a pack once it has one.
        path.rename(target / path.name)
    sync_folder(target)
    return {path.name for path in written if path.suffix == ".idx"}


def _remove_packs(store: Store, new: set[str], packed: set[str], added: set[str]) -> None:
    """Remove the old packs, unless they have objects that are needed again and in no other pack."""
    if not new and packed:
        return
    for index in _indexes(Path(store.folder)):
        if index.name in new or (added - packed) & {*pack_index.ids(index, store.id_size)}:
            continue
        # The index first: without it, git does not look into the pack.
        for path in (index, *index.parent.glob(f"{index.stem}.*")):
            path.unlink(missing_ok=True)


def _indexes(folder: Path) -> list[Path]:
    return sorted((folder / "objects/pack").glob("pack-*.idx"))


def _loose(folder: Path) -> set[str]:
    """The ids of all loose objects."""
    found = set()
    for within in (folder / "objects").glob("[0-9a-f][0-9a-f]"):
        found |= {within.name + name for name in os.listdir(within) if "_" not in name}  # noqa: PTH208
    return found


def _path(folder: Path, object_id: str) -> Path:
    return folder / "objects" / object_id[:2] / object_id[2:]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(folder: Path) -> int:
    from amlexec.file_trees import walk

    size = 0
    for found in walk(folder, onerror=lambda _: None):
        for entry in found.others:
            with contextlib.suppress(OSError):
                size += entry.stat(follow_symlinks=False).st_blocks * 512
    return size
