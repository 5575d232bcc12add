"""Take a snapshot that was made elsewhere into the project's own repository."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from amlexec import git
from amlexec.errors import TargetError
from amlexec.snapshots import store as snapshot_store

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.values import Project

__all__ = ["adopt"]


def adopt(project: Project, folder: Path, tree: str) -> None:
    """Store the files in `folder`, which have to be exactly those of the snapshot `tree`.

    The id of a snapshot is the hash of its files, so a file that was changed, added or lost is noticed.

    Raises:
        TargetError: they are not, or can't be stored.
    """
    with snapshot_store.opened(project) as store:
        if 2 * store.id_size != len(tree):
            raise TargetError(
                "the snapshot has ids of another kind than the snapshots of this project",
                where=str(store.folder),
                hint="use a project whose snapshots were begun with git 2.29 or newer",
            )
        with tempfile.TemporaryDirectory(prefix="amlexec-") as temporary:
            variables = store.environment(str(folder), f"{temporary}/index")
            with store.writing():
                # Everything: ignore rules have had their say when the snapshot was taken.
                _git(store, ["add", "--all", "--force", "--", "."], folder, variables)
                found = _git(store, ["write-tree"], folder, variables).decode().strip()
    if found != tree:
        raise TargetError(
            f"its files are not those of the run's snapshot: they are {found[:12]}, and it is {tree[:12]}"
        )


def _git(store: snapshot_store.Store, arguments: list[str], folder: Path, variables: dict[str, str]) -> bytes:
    # git inherits the lock: if this process is killed, the next one waits for it.
    process = git.start(arguments, folder=str(folder), environment=variables, inherit=(store.lock,))
    return git.finish(process).stdout
