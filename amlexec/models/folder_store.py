"""A registry in a folder of this machine, which may be shared by users and machines."""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import private_folders, temporaries
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree, walk
from amlexec.files import open_regular, read_regular, write_atomically
from amlexec.models import new_folder
from amlexec.models.content import changed
from amlexec.models.store import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.models.content import Content, File

__all__ = ["FolderStore", "copy_files", "damaged"]

_CHUNK = 1 << 20


class FolderStore:
    """A folder with the files of a registry."""

    def __init__(self, root: Path, *, is_private: bool) -> None:
        """`is_private` if only this user may read it. Opens nothing."""
        self._root = root
        self._is_private = is_private
        # The umask decides what others may do in a shared folder.
        self._mode = 0o600 if is_private else 0o666

    @property
    def place(self) -> str:
        """Its path."""
        return str(self._root)

    def entries(self, folder: str) -> list[str]:
        """The names in a folder, sorted, without unfinished ones."""
        with self._errors(folder):
            try:
                return sorted(entry.name for entry in (self._root / folder).iterdir() if entry.name[0] != ".")
            except FileNotFoundError:
                return []
        raise AssertionError

    def tree(self, folder: str) -> dict[str, bytes | OSError]:
        """All files below a folder by relative path."""
        root = self._root / folder
        found: dict[str, bytes | OSError] = {}
        with self._errors(folder):
            try:
                os.lstat(root)  # a folder that can't be reached is not one that does not exist
            except FileNotFoundError:
                return found
            for each in walk(root):
                for entry in each.others:
                    name = f"{each.path}/{entry.name}" if each.path else entry.name
                    if entry.name.startswith("."):
                        continue
                    try:
                        found[name] = read_regular(root / name, LARGEST, follow=False)
                    except FileNotFoundError:
                        continue  # another process has removed it
                    except OSError as error:
                        found[name] = error
        return found

    def read(self, name: str) -> bytes | None:
        """A file; None if it does not exist."""
        with self._errors(name):
            try:
                return read_regular(self._root / name, LARGEST, follow=False)
            except FileNotFoundError:
                return None
        raise AssertionError

    def create(self, name: str, content: bytes) -> bool:
        """Make a file unless it exists; whether it was made."""
        path = self._root / name
        with self._errors(name):
            self._make(path.parent)
            temporaries.sweep(path.parent)
            return temporaries.write_new(path, content, mode=self._mode)
        raise AssertionError

    def replace(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        path = self._root / name
        with self._errors(name):
            self._make(path.parent)
            temporaries.sweep(path.parent)
            write_atomically(path, content, mode=self._mode)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._errors(name):
            (self._root / name).unlink(missing_ok=True)

    def put(self, content: Content, source: Path) -> None:
        """Store the files of a model."""
        folder = self._root / "contents" / content.digest
        if folder.is_dir() and not changed(folder, content):
            return
        with self._errors(f"contents/{content.digest}"):
            self._make(folder.parent)
            new_folder.sweep(folder.parent)
            beside = new_folder.beside(folder)
            try:
                beside.mkdir(mode=0o700 if self._is_private else 0o777)
                copy_files(content, source, beside, mode=0o400 if self._is_private else 0o444)
                new_folder.publish(beside, folder, content)
            finally:
                if beside.exists():
                    remove_tree(beside)

    def fetched(self, content: Content) -> Path:
        """The folder of the files itself, compared with their digests."""
        folder = self._root / "contents" / content.digest
        if what := changed(folder, content):
            raise damaged(folder, what)
        return folder

    def holds(self, content: Content) -> bool:
        """Whether the folder of the files exists: it appears whole."""
        return (self._root / "contents" / content.digest).is_dir()

    def drop(self, digest: str, is_needed: Callable[[], bool]) -> None:
        """Remove the files of a model, unless they are needed."""
        folder = self._root / "contents" / digest
        if is_needed():
            return
        with self._errors(f"contents/{digest}"):
            beside = new_folder.beside(folder)
            try:
                folder.rename(beside)
            except FileNotFoundError:
                return
            # A writer that registers the same files now looks for them after it has made its version: either
            # that version is seen here, or these files are missing there and it stores them once more.
            if is_needed():
                with contextlib.suppress(OSError):
                    beside.rename(folder)
            remove_tree(beside)

    def _make(self, folder: Path) -> None:
        if self._is_private:
            private_folders.make(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetError(
                f"the model registry can't be used: {error.strerror or error}",
                where=str(error.filename or self._root / name),
            ) from error


def damaged(folder: Path | str, what: str) -> TargetError:
    """Files that are not those that were registered."""
    return TargetError(
        f"these are not the files that were registered: {what}",
        where=str(folder),
        hint="register the original files once more, which repairs them, or use another version",
    )


def copy_files(content: Content, source: Path, folder: Path, *, mode: int = 0o666) -> None:
    """Copy the files of a model to `folder/ROOT…`, from `source`, which is its ROOT.

    Raises:
        TargetError: a file is not what it was when `content` was read.
        OSError: it can't be read or written.
    """
    real = source.resolve()
    for file in content.files:
        inner = file.path.partition("/")[2]
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(real / inner if inner else real, target, file, mode)


def _copy(path: Path, target: Path, file: File, mode: int) -> None:
    digest = sha256()
    mode |= (mode & 0o444) >> 2 if file.executable else 0
    with open_regular(path) as source:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode | 0o200)
        with os.fdopen(descriptor, "wb") as copy:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(descriptor)
            if not mode & 0o200:
                os.fchmod(descriptor, os.fstat(descriptor).st_mode & ~0o222)
    if digest.hexdigest() != file.sha256:
        raise TargetError(
            "the file has changed while it was registered", where=str(path), hint="register it once more"
        )
