"""Unpacks an untrusted tar archive from a target into one folder.

The archive can only create folders, regular files, symbolic links, and hard links between its own files. All
of them are new and below the folder:

- every name is followed one component at a time, and no link is followed;
- an absolute name, or one with `..` in it, is refused; so is an entry whose name exists, even from the same
  archive: only newly created files are opened for writing;
- a hard link may only lead to a regular file of the archive; a symbolic link that leads out is refused, or
  kept as text if the caller allows it, and never followed here;
- devices, FIFOs, sparse files and unknown types are refused;
- only permission bits are kept, subject to the umask, and the owner can always read and write; owners are
  not kept;
- the number of entries, the total size and the depth of folders are limited.

Refused entries are reported with the reason, and the rest is unpacked. This does not depend on the filters of
`tarfile`, which not every supported Python has.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from amlexec.targets import beneath
from amlexec.targets.tar_reader import (
    DEVICES,
    FILE,
    FOLDER,
    HARD_LINK,
    LINK,
    NotTarError,
    TarEntry,
    TarReader,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.targets.beneath import Parts

__all__ = ["LIMITS", "Limits", "NotTarError", "Refused", "Unpacked", "unpack"]


class Limits(NamedTuple):
    """Limits for an archive. What exceeds them is not unpacked."""

    entries: int = 5_000_000
    bytes: int = 1 << 42
    """4 TiB."""
    depth: int = 4096
    """Nested folders."""


LIMITS = Limits()
_MOST_REFUSED = 1000
"""How many are listed; further ones are only counted."""
_IS_ABOUT_THE_NAME = frozenset(
    [
        *(errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
        *(errno.ELOOP, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EMLINK, errno.EXDEV),
    ]
)
"""Errors that concern one file; all others, such as a full disk, concern all files and are raised."""


class Refused(NamedTuple):
    """An entry that was not unpacked."""

    path: str
    reason: str
    holds_nothing: bool = False
    """Whether it is a FIFO or a device, so that no data is lost."""


class Unpacked(NamedTuple):
    """The result of unpacking an archive."""

    refused: tuple[Refused, ...]
    """In the archive's order, at most 1,000."""
    more: int
    """Number of further refused entries."""
    names: frozenset[Parts]
    """All created paths."""
    digests: dict[Parts, str]
    """SHA-256 of every regular file in hexadecimal, if requested."""
    broken: str
    """Why the archive was not read to its end; "" if it was."""
    last_folder: bytes = b""
    """The name of the last entry, if it is a folder."""


def unpack(
    read: Callable[[int], bytes],
    into: Path,
    *,
    limits: Limits = LIMITS,
    owner: tuple[int, int] | None = None,
    outward_links: bool = False,
    digests: bool = False,
) -> Unpacked:
    """Unpack the archive from `read(size)` (fewer bytes than `size` only at its end) into a folder.

    Files belong to the caller, or to `owner` (user and group) if root calls. With `outward_links`, symbolic
    links that lead out of the folder are kept; readers of the folder must not follow them.

    Raises:
        OSError: the folder can't be written to, such as when the disk is full.
    """
    root = os.open(into, beneath.FOLDER)
    try:
        return _Unpacking(root, limits, owner, outward_links, digests).all(TarReader(read))
    finally:
        os.close(root)


class _RefusedError(Exception):
    pass


class _Unpacking:
    def __init__(
        self, root: int, limits: Limits, owner: tuple[int, int] | None, outward: bool, digests: bool
    ) -> None:
        self._root, self._limits, self._owner = root, limits, owner
        self._outward = outward
        self._cursor = beneath.Cursor(root)
        self._want_digests = digests
        self._digests: dict[Parts, str] = {}
        self._names: set[Parts] = set()
        self._refused: list[Refused] = []
        self._more = 0
        self._bytes = self._entries = 0

    def all(self, reader: TarReader) -> Unpacked:
        broken, last_folder = "", b""
        try:
            for entry in reader:
                last_folder = entry.name if entry.kind == FOLDER else b""
                self._entries += 1
                if self._entries > self._limits.entries:
                    broken = f"it has more than {self._limits.entries} entries"
                    break
                self._bytes += entry.size
                if self._bytes > self._limits.bytes:
                    broken = f"it has more than {self._limits.bytes} bytes"
                    break
                self._one(entry, reader)
        except NotTarError as error:
            broken = str(error)
        finally:
            self._cursor.close()
        names = frozenset(self._names)
        return Unpacked(tuple(self._refused), self._more, names, self._digests, broken, last_folder)

    def _one(self, entry: TarEntry, reader: TarReader) -> None:
        parts = beneath.parts_of(entry.name)
        try:
            self._check(entry, parts)
            if not parts:
                return  # the folder itself
            self._make(entry, parts, self._cursor.go(parts[:-1], make=True), reader)
            while parts and parts not in self._names:
                self._names.add(parts)
                parts = parts[:-1]
        except _RefusedError as error:
            self._refuse(entry, str(error))
        except OSError as error:
            if error.errno is not None and error.errno not in _IS_ABOUT_THE_NAME:
                raise
            self._refuse(entry, _in_words(error))

    def _refuse(self, entry: TarEntry, reason: str) -> None:
        if len(self._refused) >= _MOST_REFUSED:
            self._more += 1
            return
        holds_nothing = not entry.wrong and entry.kind in DEVICES.values()
        self._refused.append(Refused(os.fsdecode(entry.name), reason, holds_nothing))

    def _check(self, entry: TarEntry, parts: Parts) -> None:
        if entry.wrong:
            raise _RefusedError(entry.wrong)
        if entry.kind not in (FILE, FOLDER, LINK, HARD_LINK):
            article = "an" if entry.kind.startswith("entry") else "a"
            raise _RefusedError(f"it is {article} {entry.kind}")
        if entry.name.startswith(b"/"):
            raise _RefusedError("its name is absolute")
        if b".." in parts:
            raise _RefusedError("its name leads out of its folder")
        if not parts and (entry.kind != FOLDER or not entry.name):
            raise _RefusedError("it has no name")
        if len(parts) > self._limits.depth:
            raise _RefusedError(f"it is nested in more than {self._limits.depth} folders")
        if entry.kind in (LINK, HARD_LINK) and not entry.target:
            raise _RefusedError("it is a link to nothing")

    def _make(self, entry: TarEntry, parts: Parts, folder: int, reader: TarReader) -> None:
        name = parts[-1]
        if entry.kind == FOLDER:
            self._folder(entry, name, folder)
        elif entry.kind == FILE:
            self._file(entry, parts, folder, reader)
        elif entry.kind == LINK:
            if not self._outward and beneath.leads_out(parts, entry.target):
                raise _RefusedError("it is a link that leads out of its folder")
            os.symlink(entry.target, name, dir_fd=folder)
            self._give(name, folder)
        else:
            self._hard_link(entry, name, folder)

    def _folder(self, entry: TarEntry, name: bytes, folder: int) -> None:
        try:
            os.mkdir(name, entry.mode | 0o700, dir_fd=folder)
        except FileExistsError:
            # Perhaps created for an earlier entry; it stays as it is.
            os.close(os.open(name, beneath.FOLDER, dir_fd=folder))
            return
        self._give(name, folder)

    def _file(self, entry: TarEntry, parts: Parts, folder: int, reader: TarReader) -> None:
        name, flags = parts[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        found = hashlib.sha256() if self._want_digests else None
        with os.fdopen(os.open(name, flags, entry.mode | 0o600, dir_fd=folder), "wb", buffering=0) as file:
            try:
                for piece in reader.content():
                    if found is not None:
                        found.update(piece)
                    view = memoryview(piece)
                    while view:
                        view = view[file.write(view) :]
            except BaseException:
                # Remove an incomplete file.
                os.unlink(name, dir_fd=folder)
                raise
            if entry.modified is not None:
                os.utime(file.fileno(), (entry.modified, entry.modified))
        self._give(name, folder)
        if found is not None:
            self._digests[parts] = found.hexdigest()

    def _hard_link(self, entry: TarEntry, name: bytes, folder: int) -> None:
        target = beneath.parts_of(entry.target)
        if entry.target.startswith(b"/") or b".." in target or not target:
            raise _RefusedError("it is a hard link that leads out of its folder")
        with beneath.opened(self._root, target[:-1]) as other:
            status = os.stat(target[-1], dir_fd=other, follow_symlinks=False)
            if target not in self._names or not stat.S_ISREG(status.st_mode):
                raise _RefusedError("it is a hard link to a file that is not in this archive")
            beneath.link_or_copy(other, target[-1], folder, name)
            self._give(name, folder)

    def _give(self, name: bytes, folder: int) -> None:
        if self._owner is not None and os.geteuid() == 0:
            os.chown(name, *self._owner, dir_fd=folder, follow_symlinks=False)


def _in_words(error: OSError) -> str:
    words = {
        errno.ENAMETOOLONG: "its name is too long for this machine",
        errno.EILSEQ: "its name is not valid on this machine",
        errno.EINVAL: "its name is not valid on this machine",
        errno.EEXIST: "an entry with its name already exists",
        errno.EISDIR: "a folder with its name already exists",
        errno.ENOTDIR: "a link or a file is in place of its folder",
        errno.ELOOP: "a link is in place of its folder",
        errno.ENOENT: "its target is not in the archive",
    }
    return words.get(error.errno or 0, (error.strerror or str(error)).lower())
