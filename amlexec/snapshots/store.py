"""The git repository of our own that snapshots are kept in: `.amlexec/snapshots.git`.

It is bare, it has an index of its own, and nobody else's configuration or hooks reach it. Everything here
happens under one lock. The git processes that write inherit the lock, so that the one that outlives a
killed amlexec still holds it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import git, private_folders
from amlexec.errors import TargetError
from amlexec.files import SMALL, read_regular, write_atomically
from amlexec.locks import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.model import Project

__all__ = ["IndexEntry", "Store", "Taken", "folder_of", "opened"]

_LOCK_TIMEOUT_S = 3600.0
"""Seconds: a first snapshot of many gigabytes takes its time, and the second process waits for it."""

# The bytes of a file are stored as they are, whatever a .gitattributes of the project says. (A false
# working-tree-encoding is an error for git, so that one is unset.)
_ATTRIBUTES = "* -text -eol -ident -filter !working-tree-encoding\n"

_CONFIGURATION = """\
[checkout]
\tworkers = 0
[core]
\tautocrlf = false
\tbigFileThreshold = 32m
\tcompression = 1
\tfileMode = true
\tfsmonitor = false
\tignoreCase = false
\tlooseCompression = 0
\tprecomposeUnicode = false
\tprotectHFS = false
\tprotectNTFS = false
\tsplitIndex = false
\tsymlinks = true
[gc]
\tauto = 0
\tpruneExpire = never
[index]
\tversion = 2
[maintenance]
\tauto = false
[pack]
\tcompression = 0
"""

_LEFTOVERS = (
    "index.lock",
    "taken.json.new",
    ".taken.json.*.new",
    "objects/tmp_*",
    "objects/pack/tmp_*",
    "objects/??/tmp_obj_*",
    "writing",
)


class Taken(NamedTuple):
    """What is known of the latest snapshot, as long as the index is the one it was taken with."""

    checksum: str
    """The checksum at the end of that index, in hex."""
    rules: str
    tree: str
    files: int
    bytes: int
    unsettled: int
    """Until this second of the file system's clock has passed, stat data alone proves nothing."""
    huge: dict[str, int]
    """Sizes of the files of 4 GiB and more, which an index holds modulo 2**32."""
    folders: list[str]
    warnings: list[str]


class IndexEntry(NamedTuple):
    """One file in a git index. Times are whole seconds, `size` is modulo 2**32, `name` has `/`."""

    changed: int
    modified: int
    mode: int
    size: int
    name: bytes


class Store(NamedTuple):
    """The repository, locked and in order."""

    folder: Path
    lock: int
    now: int
    """When it was opened, in whole seconds of the file system's own clock."""

    @property
    def index_file(self) -> Path:
        """The index that all snapshots are taken with."""
        return self.folder / "index"

    def environment(self, work_tree: str, index: str = "") -> dict[str, str]:
        """The variables that make git use this repository for the files in `work_tree`."""
        return {
            "GIT_DIR": str(self.folder),
            "GIT_WORK_TREE": work_tree,
            "GIT_INDEX_FILE": index or str(self.index_file),
        }

    @property
    def id_size(self) -> int:
        """Length of an object id in bytes: 20 for sha1, 32 for sha256."""
        text = (self.folder / "config").read_text(encoding="utf-8").lower()
        return 32 if "objectformat = sha256" in text else 20

    def checksum(self) -> str:
        """The checksum that the index says it has; "" where there is no index."""
        try:
            with self.index_file.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - self.id_size))
                return file.read().hex()
        except FileNotFoundError:
            return ""

    def is_sound(self) -> bool:
        """Whether the index is what git wrote, whole."""
        try:
            content = self.index_file.read_bytes()
        except FileNotFoundError:
            return True
        import hashlib

        digest = hashlib.sha256 if self.id_size == 32 else hashlib.sha1
        return digest(content[: -self.id_size]).digest() == content[-self.id_size :]

    def entries(self) -> list[IndexEntry]:
        """The files of the index (gitformat-index(5), versions 2 and 3)."""
        try:
            index = self.index_file.read_bytes()
        except FileNotFoundError:
            return []
        signature, version, count = struct.unpack_from(">4sII", index)
        if signature != b"DIRC" or version not in {2, 3}:
            raise TargetError(f"{self.index_file} is not an index of version 2 or 3", hint="delete that file")
        return list(_entries(index, count, struct.Struct(f">I4xI4x8xI8xI{self.id_size}xH")))

    def trust_index(self, seconds: int) -> None:
        """Let git take a file for unchanged, on its stat data, only if it is older than `seconds`.

        git compares the content of a file that is not older than the index. The time when the index was
        written is too late for that (a file can change after it was read and before the index is
        written); the time when the snapshot began is right.
        """
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.index_file, (seconds, seconds))

    def trusted(self) -> int:
        """The time that `trust_index` was told; now, where there is no index."""
        try:
            return int(self.index_file.stat().st_mtime)
        except FileNotFoundError:
            return self.now

    def forget_index(self) -> None:
        """The next snapshot reads every file again."""
        self.index_file.unlink(missing_ok=True)

    def latest(self) -> Taken | None:
        """What is known of the latest snapshot, if index and record belong together."""
        import json

        try:
            known = read_regular(self.folder / "taken.json", SMALL << 6, follow=False)
            taken = Taken(**json.loads(known))
        except (OSError, ValueError, TypeError, RecursionError):
            return None  # the index is then compared with the files, byte by byte
        return taken if taken.checksum == self.checksum() else None

    def record(self, taken: Taken) -> None:
        """Keep what is known of the latest snapshot."""
        import json

        write_atomically(self.folder / "taken.json", json.dumps(taken._asdict()), durable=False)

    def has(self, object_id: str) -> bool:
        """Whether a tree is there; trees are never packed here."""
        return (self.folder / "objects" / object_id[:2] / object_id[2:]).exists()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While git writes: what a killed or failed one leaves behind is removed, then or next time."""
        marker = self.folder / "writing"
        marker.touch()
        try:
            yield
        except (git.GitError, OSError):
            _remove_leftovers(self.folder)
            raise
        marker.unlink()

    def discard_if_first(self) -> None:
        """Give back the room that an unfinished first snapshot has taken."""
        if not (self.folder / "taken.json").exists():
            import shutil

            shutil.rmtree(self.folder)


def _entries(index: bytes, count: int, fixed: struct.Struct) -> Iterator[IndexEntry]:
    offset = 12
    for _ in range(count):
        changed, modified, mode, size, flags = fixed.unpack_from(index, offset)
        begin = offset + fixed.size + (2 if flags & 0x4000 else 0)
        length = flags & 0xFFF
        end = begin + length if length < 0xFFF else index.index(b"\0", begin)
        yield IndexEntry(changed, modified, mode, size, index[begin:end])
        offset += (end - offset + 8) & ~7


def folder_of(project: Project) -> Path:
    """Where the snapshots of a project are kept."""
    return Path(project.state) / "snapshots.git"


@contextlib.contextmanager
def opened(project: Project) -> Iterator[Store]:
    """The project's store, locked; made on first use.

    Raises TargetError where it cannot be made or locked, or git is not installed.
    """
    folder = folder_of(project)
    try:
        private_folders.make(folder.parent)
    except OSError as error:
        raise TargetError(
            f"cannot make the folder {project.state}: {error.strerror}",
            hint="amlexec keeps snapshots and records there: make the project's folder writable",
        ) from error
    with exclusive(f"{project.state}/snapshots.lock", _LOCK_TIMEOUT_S) as lock:
        if not folder.exists():
            _make(folder, lock)
        elif (folder / "writing").exists():
            _remove_leftovers(folder)
        os.utime(lock)  # for the file system's idea of now, which is not always this machine's
        yield Store(folder, lock, int(os.fstat(lock).st_mtime))


def _make(folder: Path, lock: int) -> None:
    import shutil

    state = folder.parent
    new = state / "snapshots.git.new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        _init(new, lock)
        private_folders.make(new / "info")
        texts = [(new / "info" / "attributes", _ATTRIBUTES), (new / "config", _CONFIGURATION)]
        if not (state / ".gitignore").exists():
            # what amlexec keeps is never a part of the user's repository
            texts.append((state / ".gitignore", "*\n"))
        for path, text in texts:
            with open(path, "a", encoding="utf-8", opener=private_folders.opener) as file:
                file.write(text)
        new.rename(folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise TargetError(
            f"cannot make {folder}: {error.strerror}",
            hint="amlexec keeps the snapshots of runs there: make room, or the folder writable",
        ) from error


def _init(new: Path, lock: int) -> None:
    def make(*options: str) -> None:
        arguments = ["init", "--quiet", "--bare", "--template=", *options, str(new)]
        # With the lock in its hands: a git that outlives us is waited for, not run into.
        git.finish(git.start(arguments, folder=str(new.parent), environment={}, inherit=(lock,)))

    try:
        make("--object-format=sha256")
    except git.GitError as error:
        if "object-format" not in error.output:
            raise
        make()


def _remove_leftovers(folder: Path) -> None:
    """Remove what git leaves when it is killed. Nobody else is writing: the lock is held."""
    for pattern in _LEFTOVERS:
        for name in folder.glob(pattern):
            name.unlink(missing_ok=True)
