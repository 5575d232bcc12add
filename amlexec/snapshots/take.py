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
import re
import signal
from contextlib import ExitStack, contextmanager, nullcontext, suppress

from amlexec import git, private_folders
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.snapshots import store as snapshot_store
from amlexec.snapshots.listing import ChangedMeanwhile, begin, list_changes, listing, special_files
from amlexec.snapshots.store import Taken
from amlexec.snapshots.warnings import folders_of, warnings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from amlexec.snapshots.listing import Listing, Work
    from amlexec.snapshots.store import IndexEntry, Store
    from amlexec.values import Project

__all__ = ["Snapshot", "checkout", "exists", "files", "has_file", "take", "taking"]

# ruff: noqa: PTH108, PTH110, PTH208 - a submission needs no pathlib

_ATTEMPTS = 3
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# git's messages for a file that changed meanwhile, and for a damaged repository. Compiled when git fails
_CHANGED = r"short read|read error|changed while|does not exist|is a directory|unable to stat|No such file"
_DAMAGED = (
    r"index file|bad index|bad signature|invalid object|unable to read|not a valid|not a tree|is empty|"
    r"corrupt|inflate|not a git repository|object file|cannot read|could not read|unordered"
)


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
            notes += _recover(error, store, root, last=number == _ATTEMPTS)
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
        tree=written.stdout.decode("ascii").strip(),
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


def _recover(error: Exception, store: Store, root: str, *, last: bool) -> list[str]:
    """Notes for the user if another attempt makes sense; else raises a TargetError with a hint."""
    output = error.output if isinstance(error, git.GitError) else str(error)
    if _is_full(output):
        full = _full(store.folder, root)
        store.discard_if_first()
        raise full from error
    if isinstance(error, OSError):
        raise TargetError(
            f"cannot store the snapshot in {store.folder}: {error.strerror}",
            hint="amlexec stores the snapshots of runs there: make the folder writable",
        ) from error
    denied = re.search(r"open\(\"(.*)\"\): (Permission denied)|'(.*)': Permission denied", output)
    if denied:
        raise TargetError(
            f"{denied[1] or denied[3]} cannot be read: Permission denied",
            where=root,
            hint="make it readable, or list it in .amlignore (without one, in .gitignore)",
        ) from error
    if last:
        raise _final(error, output, store, root) from error
    if re.search(_DAMAGED, output):
        store.forget_index()
        return [f"{store.index_file} was damaged and has been made again"]
    return []


def _final(error: Exception, output: str, store: Store, root: str) -> TargetError:
    """The error to raise after the last attempt."""
    if isinstance(error, git.GitError) and error.code != -signal.SIGBUS and not re.search(_CHANGED, output):
        return _damaged(error, store.folder) if re.search(_DAMAGED, output) else error
    reason = output.strip().splitlines()[-1:] or [str(error)]
    return TargetError(
        f"files changed each time the snapshot was taken: {reason[0]}",
        where=root,
        hint="wait until the program that writes them is done, or list those files in .amlignore",
    )


def checkout(project: Project, tree: str, destination: str | Path) -> None:
    """Write the files of a snapshot into `destination`, an empty or new folder.

    Raises TargetError: the snapshot does not exist or is damaged; the folder is not empty; the disk is full.
    Removes the folder after an error.
    """
    if not _ID.fullmatch(tree):
        raise TargetError(f"{tree!r} is not the id of a snapshot")
    try:
        private_folders.make(destination)
        if os.listdir(destination):
            raise TargetError(f"{destination} is not empty", hint="check out into a new folder")
    except OSError as error:
        raise TargetError(f"cannot make the folder {destination}: {error.strerror}") from error
    with snapshot_store.opened(project) as store:
        known = store.latest()
        own = known is not None and known.tree == tree and known.rules.endswith(":")
        own = own and os.path.exists(store.index_file)
        descriptor = os.open(store.index_file if own else os.devnull, os.O_RDONLY)
    index = f"/dev/fd/{descriptor}" if own else f"{destination}.index"
    # The index of this very tree saves reading the tree. The open file stays unchanged while other snapshots
    # are taken, because git replaces its index by a new file.
    arguments = ["checkout-index", "--all", "--quiet"] if own else ["read-tree", "--reset", "-u", tree]
    try:
        process = git.start(
            arguments,
            folder=str(destination),
            environment=store.environment(str(destination), index),
            inherit=(descriptor,),
        )
        git.finish(process)
    except git.GitError as error:
        import shutil

        full = _full(destination, str(destination))
        shutil.rmtree(destination, ignore_errors=True)
        # git does not report why a file could not be written
        if _is_full(error.output) or "unable to write file" in error.output:
            raise full from error
        raise _damaged(error, store.folder) if re.search(_DAMAGED, error.output) else error from None
    finally:
        os.close(descriptor)
        if not own:
            with suppress(FileNotFoundError):
                os.unlink(index)


def exists(project: Project, tree: str) -> bool:
    """Whether the project has the snapshot with that id. Changes nothing."""
    folder = snapshot_store.folder_of(project)
    if not folder.is_dir() or not _ID.fullmatch(tree):
        return False
    try:
        git.git(
            ["cat-file", "-e", f"{tree}^{{tree}}"],
            folder=project.place,
            environment={"GIT_DIR": str(folder)},
        )
    except git.GitError:
        return False
    return True


def files(project: Project, tree: str) -> list[str]:
    """The files of a snapshot, relative to the project's root, with `/`, sorted by their bytes."""
    return [os.fsdecode(name) for name in _listed(project, "-r", tree)]


def has_file(project: Project, tree: str, name: str) -> bool:
    """Whether a snapshot has a file or a link of that name, relative to the project's root, with `/`."""
    with snapshot_store.opened(project) as store:
        known = store.latest()
        # Of the latest snapshot, the index tells without git.
        is_latest = known is not None and known.tree == tree and known.rules.endswith(":")
        if is_latest and store.names(os.fsencode(name)):
            return True
    return name != "" and _listed(project, tree, "--", name) == [os.fsencode(name)]


def _listed(project: Project, *arguments: str) -> list[bytes]:
    with snapshot_store.opened(project) as store:
        try:
            listed = git.git(
                ["--literal-pathspecs", "ls-tree", "-z", "--full-tree", *arguments],
                folder=project.root,
                environment=store.environment(project.root),
            )
        except git.GitError as error:
            raise _damaged(error, store.folder) if re.search(_DAMAGED, error.output) else error from None
    entries = (entry.partition(b"\t") for entry in listed.split(b"\0")[:-1])
    return [name for head, _, name in entries if b" tree " not in head]


def _is_full(output: str) -> bool:
    return "No space left on device" in output or "Disk quota exceeded" in output


def _full(folder: str | Path, place: str) -> TargetError:
    import shutil

    free = shutil.disk_usage(folder).free / 1e6
    return TargetError(
        f"no space is left for the snapshot in {folder}: {free:,.1f} MB are free",
        where=place,
        hint="make room, or list in .amlignore what a run does not need",
    )


def _damaged(error: git.GitError, folder: str | Path) -> TargetError:
    return TargetError(
        f"the snapshots in {folder} are damaged: {error.message}",
        hint=f"delete {folder}: the next snapshot makes it again; snapshots of earlier runs are lost",
    )
