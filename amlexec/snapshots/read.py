"""Read a snapshot: its files, and a copy of them in a folder."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from amlexec import git, private_folders
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.snapshots import store as snapshot_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.values import Project

__all__ = ["checking_out", "checkout", "exists", "files", "has_file"]

# ruff: noqa: PTH108, PTH110, PTH208 - a submission needs no pathlib

_DIGITS = frozenset("0123456789abcdef")


def checkout(project: Project, tree: str, destination: str | Path) -> None:
    """Write the files of a snapshot into `destination`, an empty or new folder.

    Raises TargetError: the snapshot does not exist or is damaged; the folder is not empty; the disk is full.
    Removes the folder after an error.
    """
    with checking_out(project, tree, destination):
        pass


@contextmanager
def checking_out(project: Project, tree: str, destination: str | Path) -> Iterator[None]:
    """Let git write the files during the block: at its end they are there. Raises as `checkout` does."""
    if not _is_id(tree):
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
        with git.abandoned(process):
            yield
            git.finish(process)
    except git.GitError as error:
        import shutil

        from amlexec.snapshots import errors

        full = errors.full(destination, str(destination))
        shutil.rmtree(destination, ignore_errors=True)
        # git does not report why a file could not be written
        if errors.is_full(error.output) or "unable to write file" in error.output:
            raise full from error
        raise errors.damaged(error, store.folder) from None
    finally:
        os.close(descriptor)
        if not own:
            with suppress(FileNotFoundError):
                os.unlink(index)


def exists(project: Project, tree: str) -> bool:
    """Whether the project has the snapshot with that id. Changes nothing."""
    folder = snapshot_store.folder_of(project)
    if not folder.is_dir() or not _is_id(tree):
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
            from amlexec.snapshots import errors

            raise errors.damaged(error, store.folder) from None
    entries = (entry.partition(b"\t") for entry in listed.split(b"\0")[:-1])
    return [name for head, _, name in entries if b" tree " not in head]


def _is_id(text: str) -> bool:
    """Whether it may be the id of a tree. Without a pattern: to compile one takes longer."""
    return len(text) in {40, 64} and _DIGITS.issuperset(text)
