"""The git repository with the snapshots of a project: `.amlexec/snapshots.git`.

It is bare, it has its own index, and no other configuration or hooks affect it. All access is under one lock.
git processes that write inherit the lock: if amlexec is killed, they still hold it.
"""

from __future__ import annotations

import contextlib
import os

from amlexec import git, private_folders
from amlexec.errors import TargetError
from amlexec.files import SMALL, read_regular, sync_folder, touch, write_atomically
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.locks import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.snapshots.index_entries import IndexEntry
    from amlexec.values import Project

__all__ = ["Store", "Taken", "folder_of", "opened"]

# ruff: noqa: PTH108, PTH110, PTH116, PTH120, PTH123, PTH208 - a submission needs no pathlib

_LOCK_TIMEOUT_S = 3600.0
"""Long, because a first snapshot of many gigabytes takes time, while a second process waits for it."""

# git's own default leaves new objects out. After a power loss they could be empty, and git would never write
# them again. In variables, so that it is true of repositories of earlier versions, too.
_DURABLE = {
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.fsync",
    "GIT_CONFIG_VALUE_0": "added",
    "GIT_CONFIG_KEY_1": "core.fsyncMethod",
    "GIT_CONFIG_VALUE_1": "batch",
}

_LEFTOVERS = (
    "index.lock",
    "special.index*",
    "taken.json.new",
    ".taken.json.*.new",
    "objects/tmp_*",
    "objects/pack/tmp_*",
    "objects/??/tmp_obj_*",
    "writing",
)


_SHORTEST = 4
"""Bytes of a name that is not in an index by chance."""


class Taken(NamedTuple):
    """The latest snapshot; valid while the index is the one that it was taken with."""

    checksum: str
    """The checksum at the end of that index, in hex."""
    rules: str
    tree: str
    files: int
    bytes: int
    unsettled: int
    """Until this second of the file system's clock has passed, equal stat data proves nothing."""
    huge: dict[str, int]
    """Sizes of files of 4 GiB and more: an index holds sizes modulo 2**32."""
    folders: list[str]
    warnings: list[str]


class Store(NamedTuple):
    """The repository, locked and ready."""

    folder: str
    lock: int
    now: int
    """When it was opened, in whole seconds of the file system's clock."""

    @property
    def index_file(self) -> str:
        """The index of all snapshots."""
        return f"{self.folder}/index"

    def environment(self, work_tree: str, index: str = "") -> dict[str, str]:
        """The variables that make git use this repository for the files in `work_tree`."""
        return {
            "GIT_DIR": self.folder,
            "GIT_WORK_TREE": work_tree,
            "GIT_INDEX_FILE": index or self.index_file,
            **_DURABLE,
        }

    def sync(self) -> None:
        """Let the names of what was written since it was opened be on the disk: git syncs only data."""
        objects = f"{self.folder}/objects"
        folders = [f"{objects}/{name}" for name in os.listdir(objects) if len(name) == 2]
        for folder in (*folders, objects, self.folder, os.path.dirname(self.folder)):
            if os.stat(folder).st_mtime >= self.now:
                sync_folder(folder)

    @property
    def id_size(self) -> int:
        """Length of an object id in bytes: 20 for sha1, 32 for sha256."""
        with open(f"{self.folder}/config", encoding="utf-8") as file:
            text = file.read().lower()
        return 32 if "objectformat = sha256" in text else 20

    def checksum(self) -> str:
        """The checksum stored in the index; "" if there is no index."""
        try:
            with open(self.index_file, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - self.id_size))
                return file.read().hex()
        except FileNotFoundError:
            return ""

    def is_sound(self) -> bool:
        """Whether the index matches its checksum."""
        content = self._index()
        if content is None:
            return True
        import hashlib

        digest = hashlib.sha256 if self.id_size == 32 else hashlib.sha1
        return digest(content[: -self.id_size]).digest() == content[-self.id_size :]

    def entries(self) -> list[IndexEntry]:
        """The files of the index."""
        index = self._index()
        if index is None:
            return []
        from amlexec.snapshots import index_entries  # only if something has changed

        try:
            return index_entries.parsed(index, self.id_size)
        except ValueError as error:
            raise TargetError(f"{self.index_file} {error}", hint="delete that file") from None

    def _index(self) -> bytes | None:
        """The content of the index; None if there is none."""
        try:
            with open(self.index_file, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def names(self, name: bytes) -> bool:
        """Whether the index has a file of that name; False also where it can't be told at a glance."""
        if len(name) < _SHORTEST:
            return False  # an id may contain it
        index = self._index()
        return index is not None and b"%b%b\0" % (min(len(name), 0xFFF).to_bytes(2, "big"), name) in index

    def trust_index(self, seconds: int) -> None:
        """Let git rely on a file's stat data only if the file is older than `seconds`.

        git compares the content of files that are not older than the index. The time when the index was
        written is too late (a file can change after it was read and before the index is written); the time
        when the snapshot began is right.
        """
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.index_file, (seconds, seconds))

    def trusted(self) -> int:
        """The time set by `trust_index`; the current time if there is no index."""
        try:
            return int(os.stat(self.index_file).st_mtime)
        except FileNotFoundError:
            return self.now

    def forget_index(self) -> None:
        """Delete the index, so that the next snapshot reads every file again."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.index_file)

    def latest(self) -> Taken | None:
        """The latest snapshot, if its record matches the index; else None."""
        import json

        try:
            text = read_regular(f"{self.folder}/taken.json", SMALL << 6, follow=False)
            taken = Taken(**json.loads(text))
        except (OSError, ValueError, TypeError, RecursionError):
            return None  # then the content of every file is compared
        return taken if taken.checksum == self.checksum() else None

    def record(self, taken: Taken) -> None:
        """Store the record of the latest snapshot."""
        import json

        write_atomically(f"{self.folder}/taken.json", json.dumps(taken._asdict()), durable=False)

    def has(self, object_id: str) -> bool:
        """Whether a tree exists, loose or packed. Starts no git: every submit asks."""
        if os.path.exists(f"{self.folder}/objects/{object_id[:2]}/{object_id[2:]}"):
            return True
        from pathlib import Path

        from amlexec.snapshots import pack_index

        indexes = Path(self.folder, "objects/pack").glob("*.idx")
        return any(pack_index.contains(index, object_id) for index in indexes)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Wrap writes by git: leftovers of a failed git are removed at once, of a killed one next time."""
        marker = f"{self.folder}/writing"
        touch(marker)
        try:
            yield
        except (git.GitError, OSError):
            _remove_leftovers(self.folder)
            raise
        os.unlink(marker)

    def discard_if_first(self) -> None:
        """Free the disk space of an unfinished first snapshot."""
        if not os.path.exists(f"{self.folder}/taken.json"):
            import shutil

            shutil.rmtree(self.folder)


def folder_of(project: Project) -> Path:
    """The folder of a project's snapshots."""
    from pathlib import Path  # a submission does without

    return Path(_folder_of(project))


def _folder_of(project: Project) -> str:
    return f"{project.state}/snapshots.git"


@contextlib.contextmanager
def opened(project: Project, timeout: float = _LOCK_TIMEOUT_S) -> Iterator[Store]:
    """The project's store, locked; made on first use.

    Raises TargetError if it can't be made or locked in `timeout` seconds, or git is not installed.
    """
    folder = _folder_of(project)
    try:
        private_folders.make(project.state)
    except OSError as error:
        raise TargetError(
            f"cannot make the folder {project.state}: {error.strerror}",
            hint="amlexec stores snapshots and records there: make the project's folder writable",
        ) from error
    with exclusive(f"{project.state}/snapshots.lock", timeout) as lock:
        if not os.path.exists(folder):
            from amlexec.snapshots import new_store  # once for each project

            new_store.make(folder, lock)
        elif os.path.exists(f"{folder}/writing"):
            _remove_leftovers(folder)
        os.utime(lock)  # to read the file system's clock, which may differ from this machine's
        yield Store(folder, lock, int(os.fstat(lock).st_mtime))


def _remove_leftovers(folder: str) -> None:
    """Remove the leftovers of a killed git. No other process is writing: the lock is held."""
    from pathlib import Path

    from amlexec.file_trees import remove_tree

    for pattern in _LEFTOVERS:
        for name in Path(folder).glob(pattern):
            remove_tree(name)  # some are folders: git moves objects out of them once they are on the disk
