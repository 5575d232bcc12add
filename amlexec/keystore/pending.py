"""Secrets that no file of a project names yet, noted in the key store before they are stored.

A secret is stored before the file with its handle is written, and removed after that file. A process that
is killed in between leaves a secret that no file names. The next command removes it: the note has the
handles, and the folder whose files would name them. Half-written files of the store are found by name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import temporaries
from amlexec.errors import TargetError
from amlexec.file_trees import remove_tree
from amlexec.files import SMALL, read_regular, sync_folder
from amlexec.keystore import store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Pending", "left", "naming", "remove_left"]

_NOTES = "pending"
_NOTE = re.compile(r"[A-Za-z0-9-]+_[0-9a-f]+_[0-9]+-[0-9a-f]{8}")
_HANDLE = re.compile(r"amlexec:[0-9a-f]{32}\b")
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP})
"""Errors for a path that is not a regular file, and so names no secret."""
_MISSING_AGE_S = 30 * 86400.0
"""A project that can't be found may be on a disk that is not mounted; after this time, it is gone."""


class Pending:
    """The secrets of one command. Use `naming`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handles: list[str] = []
        self._note = store.folder() / _NOTES / f"{temporaries.owner()}-{os.urandom(4).hex()}"

    def handle(self) -> str:
        """A new handle, for a secret that is stored next. Raises TargetError: the store can't be written."""
        made = store.new_handle()
        self.add([made])
        return made

    def add(self, handles: Iterable[str]) -> None:
        """Secrets that a file may stop naming. Raises TargetError: the store can't be written."""
        if new := [handle for handle in handles if handle not in self._handles]:
            self._handles += new
            told = {"folder": str(self._folder), "handles": self._handles}
            store.write(self._note, json.dumps(told).encode())

    def settle(self) -> None:
        """Remove the secrets that no file names now.

        Raises:
            TargetError: the store can't be written, or the keyring is locked. The next command tries again.
        """
        if self._handles:
            _settle(_Note(self._note, self._folder, tuple(self._handles)))


@contextlib.contextmanager
def naming(folder: Path) -> Iterator[Pending]:
    """Store secrets for the `.compute` files in a folder; at the end, remove those that none of them names.

    If the process is killed, the next command does that: `remove_left`.

    Raises:
        TargetError: the store can't be written, or the keyring is locked.
    """
    with contextlib.suppress(TargetError):
        remove_left()
    pending = Pending(folder)
    try:
        yield pending
    except BaseException:
        with contextlib.suppress(TargetError):  # why the command has failed is what counts
            pending.settle()
        raise
    pending.settle()


def left() -> list[Path]:
    """The files of the key store that killed processes left."""
    found = []
    for note in _left_notes():
        over = _over(note)
        if over is not None:
            found += [note.path, *(path for handle in over for path in store.files(handle) if path.exists())]
    return [*found, *map(Path, _half_written())]


def remove_left() -> None:
    """Remove them, and what they stand for in the system's keyring.

    Raises:
        TargetError: the store can't be written, or the keyring is locked.
    """
    for path in _half_written():
        with contextlib.suppress(OSError):
            remove_tree(path)
    problems = []
    for note in _left_notes():
        try:
            _settle(note)
        except TargetError as error:
            problems.append(error)
    if problems:
        raise problems[0]


class _Note(NamedTuple):
    path: Path
    folder: Path
    handles: tuple[str, ...]
    age: float = 0.0


def _settle(note: _Note) -> None:
    over = _over(note)
    if over is None:
        return
    for handle in over:
        store.delete(handle)
    try:
        note.path.unlink(missing_ok=True)
    except OSError as error:
        raise store.unusable(error) from None


def _over(note: _Note) -> list[str] | None:
    """The secrets of a note that no file names any more; None if that is not known."""
    named: set[str] = set()
    try:
        # A name that a power loss takes away would take its secret with it.
        sync_folder(note.folder)
        names = os.listdir(note.folder)  # noqa: PTH208 - names
    except OSError as error:
        if error.errno not in _NO_FILE or note.age < _MISSING_AGE_S:
            return None
        names = []
    for name in names:
        if name.endswith(".compute") and not name.startswith("."):
            try:
                text = read_regular(note.folder / name, SMALL << 2)
            except OSError as error:
                if error.errno not in _NO_FILE:
                    return None
            else:
                named.update(_HANDLE.findall(text.decode(errors="replace")))
    return [handle for handle in note.handles if handle not in named]


def _left_notes() -> Iterator[_Note]:
    for name in _names(_NOTES):
        path = store.folder() / _NOTES / name
        with contextlib.suppress(OSError):
            age = time.time() - path.lstat().st_mtime
            if _NOTE.fullmatch(name) and temporaries.is_left(name, age):
                yield _read(path, age)


def _read(path: Path, age: float) -> _Note:
    try:
        told = json.loads(read_regular(path, SMALL, follow=False))
        folder, handles = Path(told["folder"]), tuple(told["handles"])
    except (ValueError, TypeError, KeyError):
        return _Note(path, path.parent, ())  # not ours, or of a disk that has lost it
    return _Note(path, folder, tuple(each for each in handles if store.is_handle(str(each))), age)


def _half_written() -> list[str]:
    """Files and folders of killed writers."""
    found = []
    for part in ("", *store.PARTS, _NOTES):
        for name in _names(part):
            path = store.folder() / part / name
            with contextlib.suppress(OSError):
                if name.endswith(".new") and temporaries.is_left(name, time.time() - path.lstat().st_mtime):
                    found.append(str(path))
    return found


def _names(part: str) -> list[str]:
    """The names in a folder of the store; none if others could have written them."""
    try:
        store.guard(store.folder())
        return sorted(os.listdir(store.folder() / part))  # noqa: PTH208 - names
    except (OSError, TargetError):
        return []
