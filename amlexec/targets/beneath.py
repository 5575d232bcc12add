"""Access to files below a folder, one path component at a time, so that no link leads out of it.

Names are bytes, and a path is a tuple of them: it may be longer than the system's limit for one call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Cursor",
    "FOLDER",
    "Parts",
    "leads_out",
    "link_or_copy",
    "opened",
    "parts_of",
    "remove_below",
    "text_of",
    "walk",
]

Parts = tuple[bytes, ...]
"""The names that lead to a file, from a folder down."""
_KEPT_OPEN = 64
"""Open folders at a time; others are opened again when they are needed."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(path: bytes) -> Parts:
    """The names of a relative path; doubled slashes and `.` are left out, `..` stays."""
    return tuple(part for part in path.split(b"/") if part not in (b"", b"."))


def text_of(parts: Parts) -> str:
    """The path as text, with surrogate escapes for bytes that are not UTF-8."""
    return os.fsdecode(b"/".join(parts))


class Cursor:
    """Opens one folder after another below a root. Neighboring folders are fast."""

    def __init__(self, root: int) -> None:
        """`root` is the folder's descriptor; it stays open."""
        self._root = root
        self._at: Parts = ()
        self._open: dict[int, int] = {}
        """Descriptors of the last few folders on the path to the current one, by depth."""

    def go(self, parts: Parts, *, make: bool = False) -> int:
        """A descriptor of the folder `parts`, valid until the next call; with `make`, created if missing.

        Raises:
            OSError: the folder is missing or can't be read, or a part is a link or a file
                (NotADirectoryError).
        """
        same = min(len(parts), len(self._at))
        while parts[:same] != self._at[:same]:
            same -= 1
        for depth in [depth for depth in self._open if depth > same]:
            os.close(self._open.pop(depth))
        depth = max(self._open, default=0)
        self._at = parts[:depth]
        at = self._open.get(depth, self._root)
        for part in parts[depth:]:
            at = _below(at, part, make=make)
            depth += 1
            self._at = parts[:depth]
            self._open[depth] = at
            if (old := depth - _KEPT_OPEN) in self._open:
                os.close(self._open.pop(old))
        return at

    def close(self) -> None:
        """Close all descriptors."""
        while self._open:
            os.close(self._open.popitem()[1])


@contextlib.contextmanager
def opened(root: int, parts: Parts, *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `parts` below the folder `root`. Raises like `Cursor.go`."""
    cursor = Cursor(root)
    try:
        yield cursor.go(parts, make=make)
    finally:
        cursor.close()


def _below(folder: int, name: bytes, *, make: bool) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
        os.mkdir(name, 0o700, dir_fd=folder)
    except PermissionError:
        # A script may have removed its owner's permissions.
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o700 == 0o700:
            raise
        os.chmod(name, stat.S_IMODE(status.st_mode) | 0o700, dir_fd=folder)
    return os.open(name, FOLDER, dir_fd=folder)


def walk(root: int, top: Parts = ()) -> Iterator[tuple[Parts, int | OSError, list[os.DirEntry[str]]]]:
    """Every folder in `top` below the folder `root`: its path, a descriptor, and its entries.

    The descriptor is valid until the next step. Links are not followed. If a folder can't be read, the
    error takes the place of its descriptor.
    """
    waiting = [top]
    cursor = Cursor(root)
    try:
        while waiting:
            at = waiting.pop()
            try:
                folder = cursor.go(at)
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                yield at, error, []
                continue
            waiting += [
                (*at, os.fsencode(entry.name))
                for entry in reversed(found)
                if entry.is_dir(follow_symlinks=False)
            ]
            yield at, folder, found
    finally:
        cursor.close()


def link_or_copy(folder: int, name: bytes, into: int, new: bytes) -> None:
    """Hard-link a regular file into another folder, or copy it if it can't be linked.

    Raises:
        OSError: the file can't be read, or the new name exists.
    """
    try:
        os.link(name, new, src_dir_fd=folder, dst_dir_fd=into, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # Another file system, or one without hard links; or another user's file.
        _copy(folder, name, into, new)


def _copy(folder: int, name: bytes, into: int, new: bytes) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as source:
        status = os.fstat(source.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fsdecode(name))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = status.st_mode & 0o777 | 0o600
        with os.fdopen(os.open(new, flags, mode, dir_fd=into), "wb") as copy:
            while chunk := source.read(1 << 20):  # shutil would cost each run the imports of its archives
                copy.write(chunk)
            os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def leads_out(at: Parts, target: bytes) -> bool:
    """Whether a link at that path leads out of the folder, judged by its text."""
    if target.startswith(b"/"):
        return True
    up = 0
    parts = parts_of(target)
    while up < len(parts) and parts[up] == b"..":
        up += 1
    # After a name, which may be a link itself, the target of `..` is unknown.
    return up > len(at) - 1 or b".." in parts[up:]


def remove_below(folder: int, name: bytes) -> None:
    """Remove an entry of the folder, recursively at any depth. Idempotent.

    Raises:
        OSError: something can't be removed.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    folders = []
    with opened(folder, (name,)) as top:
        for at, within, entries in walk(top):
            if isinstance(within, OSError):
                raise within
            folders.append(at)
            if os.fstat(within).st_mode & 0o700 != 0o700:
                os.fchmod(within, 0o700)
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=within)
        cursor = Cursor(top)
        try:
            for at in reversed(folders[1:]):
                os.rmdir(at[-1], dir_fd=cursor.go(at[:-1]))
        finally:
            cursor.close()
    os.rmdir(name, dir_fd=folder)
