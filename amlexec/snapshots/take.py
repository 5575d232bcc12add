"""SNAPSHOT: the copy of the project that a run executes, as a git tree in amlexec's own repository.

A snapshot has every file that the ignore rules don't exclude, byte for byte, with its executable bit;
symbolic links as links. It does not have empty folders (git can't store them), `.git` and `.amlexec`
anywhere, and `outputs` in the project's root.

The rules are those of `.amlignore` files if the project's root has one, else those of `.gitignore` files;
also the ones above the project if it is a part of a larger repository (unless they ignore the whole project).
git does the matching. Only these files count. The user's global ignore file and `.git/info/exclude` don't, so
that a snapshot is the same for everybody. Whether a file is tracked does not matter either: an ignored file
stays out even if it was added by force. Files of nested repositories and submodules are included.

The user's own repository is neither read nor written.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, nullcontext

from amlexec import git
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.snapshots import store as snapshot_store
from amlexec.snapshots.listing import ChangedMeanwhile, begin, list_changes, listing, special_files
from amlexec.snapshots.store import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amlexec.snapshots.index_entries import IndexEntry
    from amlexec.snapshots.listing import Listing, Work
    from amlexec.snapshots.store import Store
    from amlexec.values import Project

__all__ = ["Snapshot", "take", "taking"]

_ATTEMPTS = 3


class Snapshot(NamedTuple):
    """A project at one moment."""

    tree: str
    """Id of the git tree; equal for equal content."""
    files: int
    bytes: int
    warnings: tuple[str, ...] = ()
    """Warnings for the user."""


def take(project: Project) -> Snapshot:
    """Take a snapshot of the project. It never misses a changed file.

    Raises TargetError: git is not installed; a file can't be read, or keeps changing; the disk is full;
    `.amlexec/snapshots.git` is damaged.
    """
    with snapshot_store.opened(project) as store:
        return _taken_by(store, project.root, None)


@contextmanager
def taking(project: Project) -> Iterator[Callable[[], Snapshot]]:
    """Let git list the files during the block; the function that it gets takes the snapshot, as `take` does.

    Without that call, nothing changes. The snapshots are locked until that call has ended, or the block.
    """
    with ExitStack() as stack:
        first: _Attempt | None = None
        try:
            store = stack.enter_context(snapshot_store.opened(project, timeout=0))
            first = stack.enter_context(_attempt(store, project.root))
        except (OSError, TargetError, ChangedMeanwhile):
            stack.close()  # it is locked, or something is wrong: `take` waits, or raises that

        def taken() -> Snapshot:
            if first is None:
                return take(project)
            with stack.pop_all():
                return _taken_by(first.work.store, project.root, first)

        yield taken


class _Attempt(NamedTuple):
    """An attempt to take a snapshot, for which git lists the files."""

    work: Work
    listing: Listing
    known: Taken | None
    """The latest snapshot if it is still valid."""
    notes: list[str]


@contextmanager
def _attempt(store: Store, root: str) -> Iterator[_Attempt]:
    work = begin(store, root)
    known, notes = _known(work)
    with listing(work) as begun:
        yield _Attempt(work, begun, known, notes)


def _taken_by(store: Store, root: str, first: _Attempt | None) -> Snapshot:
    """Take a snapshot, in several attempts if files change meanwhile. The `first` one may have begun."""
    notes: list[str] = []
    for number in range(1, _ATTEMPTS + 1):
        try:
            with nullcontext(first) if first is not None else _attempt(store, root) as attempt:
                first = None
                taken, seen = _take(attempt)
        except (ChangedMeanwhile, git.GitError, OSError) as error:
            from amlexec.snapshots import errors

            notes += errors.recover(error, store, root, last=number == _ATTEMPTS)
        else:
            break
    return Snapshot(taken.tree, taken.files, taken.bytes, (*notes, *attempt.notes, *seen, *taken.warnings))


def _known(work: Work) -> tuple[Taken | None, list[str]]:
    """The latest snapshot if it is still valid, and warnings; prepares the index for the next one."""
    store = work.store
    known = store.latest()
    if known is None and store.is_sound():
        store.trust_index(1)  # the first snapshot, or the last one was killed: compare every file's content
    elif known is None:
        store.forget_index()
        return None, [f"{store.index_file} was damaged and has been made again"]
    elif known.rules != work.signature:
        if not known.rules.endswith(f":{work.prefix}"):
            store.forget_index()  # its paths begin elsewhere
        return None, []
    return known, []


def _take(attempt: _Attempt) -> tuple[Taken, list[str]]:
    work, known = attempt.work, attempt.known
    store = work.store
    changed, gone, notes = list_changes(work, attempt.listing)
    if known and not changed and not gone and store.has(known.tree):
        # every file matches the index
        if store.now > known.unsettled:
            store.trust_index(store.now)
        return known, notes + special_files(work, known.folders)
    if gone:
        work.update("--force-remove", "--stdin", names=gone)
    if changed:
        added = work.update("--add", "--remove", "--replace", "--stdin", names=changed)
        notes += [f"left out of the snapshot: {note.removeprefix('Ignoring path ')}" for note in added.notes]
    with store.writing():
        taken = _taken(work, changed, known)
    return taken, notes + special_files(work, taken.folders)


def _taken(work: Work, changed: Sequence[bytes], known: Taken | None) -> Taken:
    """Write the tree of the index, and record it as the latest snapshot."""
    from amlexec.snapshots.warnings import folders_of, warnings_of  # only if something has changed

    store = work.store
    root = os.fsencode(work.root)
    skip = len(os.fsencode(work.prefix))
    entries = store.entries()
    if skip:
        entries = [entry._replace(name=entry.name[skip:]) for entry in entries]
    if entries:
        written = work.git("write-tree", *([f"--prefix={work.prefix}"] if work.prefix else []))
    else:
        written = work.git("mktree")
    tree = written.stdout.decode("ascii").strip()
    if not store.has(tree):
        # Newer versions of git take the index's word that the trees and files in it are stored.
        raise ChangedMeanwhile(f"invalid object {tree}")
    huge = dict(known.huge) if known else {}
    for name in changed if known else [entry.name for entry in entries]:
        size = _size(b"%b/%b" % (root, name))
        if size >= 2**32:
            huge[os.fsdecode(name)] = size
    sizes = {os.fsdecode(entry.name): entry.size for entry in entries}
    sizes |= {name: size for name, size in huge.items() if name in sizes}
    taken = Taken(
        checksum=store.checksum(),
        rules=work.signature,
        tree=tree,
        files=len(entries),
        bytes=sum(sizes.values()),
        unsettled=_settle(store, entries),
        huge=huge,
        folders=folders_of(sizes),
        warnings=warnings_of(root, entries, sizes),
    )
    store.record(taken)
    store.sync()
    return taken


def _size(name: bytes) -> int:
    try:
        return os.lstat(name).st_size
    except OSError:
        return 0  # removed, which is why it was in the list


def _settle(store: Store, entries: Sequence[IndexEntry]) -> int:
    """Make sure that the next snapshot sees every change; returns `Taken.unsettled`.

    Stat data shows a change only from the second after the snapshot began. Until then git compares contents,
    but only of files with such a recent mtime. A file with an older mtime that was just written (by `cp -p`,
    `tar`, `git clone`) can change again with the same size, mtime and second of its ctime: the index gets an
    older time, so that git compares that file too.
    """
    recent = [entry for entry in entries if entry.changed >= store.now]
    oldest = min((entry.modified for entry in recent), default=store.now)
    store.trust_index(max(1, min(oldest, store.now)))
    if oldest < 1:  # git treats time 0 as no time
        store.forget_index()
    return max((entry.changed for entry in recent), default=0)
