"""Safe access to untrusted files: open only regular files, read up to a limit, write atomically.

A downloaded project, a script or another machine can put a named pipe, a device, a link or an endless file
under any name. These functions never block on one, and never read more than their limit.

Errors are OSError, with a `strerror` that names the kind of file found.
"""

from __future__ import annotations

import errno
import os
import stat

from amlexec import temporaries
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

__all__ = [
    "SMALL",
    "Folder",
    "append",
    "open_regular",
    "open_to_append",
    "open_to_write",
    "read_regular",
    "remove_tree",
    "sync_folder",
    "touch",
    "walk",
    "write_atomically",
]

SMALL = 1 << 20
"""In bytes. Files of amlexec with a line or two are never larger."""
_FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_OPEN = 64
"""How many parent folders keep their descriptors open during a walk; higher ones are opened again."""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def open_regular(
    path: str | os.PathLike[str], *, limit: int | None = None, follow: bool = True, within: int | None = None
) -> IO[bytes]:
    """Open a regular file for reading.

    Args:
        path: the file. With `within`, relative to the folder of that descriptor.
        limit: its maximal size in bytes; None for any size.
        follow: whether a link is followed; its target has to be a regular file.
        within: the descriptor of a folder.

    Raises:
        OSError: it does not exist, can't be read, is not a regular file, or is larger than `limit`.
    """
    # Checked before it is opened: opening can already have an effect on a device.
    _must_be_regular(os.stat(path, dir_fd=within, follow_symlinks=follow), path, limit)
    flags = os.O_RDONLY | _FLAGS | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=within)
    try:
        _must_be_regular(os.fstat(descriptor), path, limit)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], limit: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises as `open_regular` does."""
    with open_regular(path, limit=limit, follow=follow) as file:
        # Python takes as much memory as it is told to read.
        expected = min(limit, os.fstat(file.fileno()).st_size)
        content = file.read(expected + 1)
        if expected < len(content) <= limit:  # it grows
            content += file.read(limit + 1 - len(content))
    if len(content) > limit:  # it has grown since
        raise _too_large(path, limit)
    return content


def append(path: str | os.PathLike[str], text: str) -> None:
    """Append text to a regular file; makes it if it is missing. Follows no link, waits for no pipe.

    Raises:
        OSError: it can't be written, or is not a regular file.
    """
    descriptor = open_to_append(path)
    try:
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)


def touch(path: str | os.PathLike[str]) -> None:
    """Make an empty file if it is missing. Raises as `append` does."""
    os.close(_open_to_write(path, 0))


def open_to_write(path: str | os.PathLike[str]) -> int:
    """A descriptor for writing a regular file; makes it if it is missing, and keeps its content.

    Raises as `append` does.
    """
    return _open_to_write(path, 0)


def open_to_append(path: str | os.PathLike[str]) -> int:
    """A descriptor whose writes go to the end of a regular file; makes it if it is missing.

    Raises as `append` does.
    """
    return _open_to_write(path, os.O_APPEND)


def _open_to_write(path: str | os.PathLike[str], more_flags: int) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | _FLAGS | more_flags, 0o600)
    try:
        _must_be_regular(os.fstat(descriptor), path, None)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _must_be_regular(status: os.stat_result, path: str | os.PathLike[str], limit: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        what = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(
            errno.ELOOP if what == "a link" else errno.EINVAL, f"It is {what}, not a file", os.fspath(path)
        )
    if limit is not None and status.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: str | os.PathLike[str], limit: int) -> OSError:
    size = (
        f"{limit >> 20} MB"
        if limit >= 1 << 20
        else f"{limit >> 10} kB"
        if limit >= 1 << 10
        else f"{limit} bytes"
    )
    return OSError(errno.EFBIG, f"It is larger than {size}", os.fspath(path))


def write_atomically(
    path: str | os.PathLike[str],
    content: str | bytes,
    *,
    mode: int = 0o600,
    exact_mode: bool = False,
    durable: bool = True,
) -> None:
    """Write `content` to `path`, so that a reader sees the old file or the new one; synced to the disk.

    A link at `path` is replaced, not followed. The umask applies to `mode`, unless `exact_mode`. Without
    `durable` the disk is not synced: for files whose loss only costs time.
    """
    beside = temporaries.write_beside(path, content, mode=mode, exact_mode=exact_mode, durable=durable)
    try:
        os.replace(beside, path)  # noqa: PTH105 - the path may be text
    except BaseException:
        temporaries.remove(beside)
        raise
    if durable:
        sync_folder(os.path.dirname(path) or ".")  # noqa: PTH120 - the path may be text


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Let names in a folder be on the disk when this returns: syncing a file leaves its name out.

    Some file systems can't do this, and a folder may not be readable: then the names are on the disk later.

    Raises:
        OSError: the disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


class Folder(NamedTuple):
    """One folder of a `walk`."""

    path: str
    """Relative to the root of the walk, with `/`; "" for the root."""
    descriptor: int
    """The folder's descriptor; open until the walk goes on."""
    folders: list[str]
    """Names of folders in it, sorted."""
    others: list[os.DirEntry[str]]
    """All other entries, including links to folders; sorted by name."""


def walk(
    root: str | os.PathLike[str], onerror: Callable[[OSError], object] | None = None
) -> Iterator[Folder]:
    """Every folder below `root`, at any depth, parents first. Follows no link.

    Args:
        root: a folder, not a link to one.
        onerror: gets the error of each unreadable folder, which is then skipped; without it the error is
            raised.

    Raises:
        OSError: a folder can't be read, or was moved during the walk.
    """
    for step in _steps(root, onerror, force=False):
        if isinstance(step, Folder):
            yield step


def remove_tree(root: str | os.PathLike[str]) -> None:
    """Remove a folder and everything in it, at any depth; of a link, only the link itself.

    Also removes folders whose owner lacks permissions. A missing folder is no error.

    Raises:
        OSError: something can't be removed.
    """
    try:
        if not stat.S_ISDIR(os.lstat(root).st_mode):
            os.unlink(root)  # noqa: PTH108 - the path may be text
            return
    except FileNotFoundError:
        return
    for step in _steps(root, None, force=True):
        if isinstance(step, Folder):
            for entry in step.others:
                _unlink(entry.name, step.descriptor)
        else:
            above, name = step
            try:
                os.rmdir(name, dir_fd=above)
            except PermissionError:
                os.fchmod(above, 0o700)
                os.rmdir(name, dir_fd=above)
    os.rmdir(root)  # noqa: PTH106


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except PermissionError:
        os.fchmod(folder, 0o700)
        os.unlink(name, dir_fd=folder)


class _Level:
    """A folder between the root and the current position of a walk."""

    def __init__(self, path: str, descriptor: int, name: str) -> None:
        self.path, self.descriptor, self.name = path, descriptor, name
        self.left: list[str] = []
        """Folders in it that were not entered yet."""
        status = os.fstat(descriptor)
        self._identity = status.st_dev, status.st_ino

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def reached_from(self, below: _Level) -> int:
        """Its descriptor; opened again from a subfolder if it was closed."""
        if self.descriptor < 0:
            self.descriptor = os.open("..", _FOLDER, dir_fd=below.descriptor)
            status = os.fstat(self.descriptor)
            if (status.st_dev, status.st_ino) != self._identity:
                raise OSError(errno.ESTALE, "It was moved while it was read", self.path)
        return self.descriptor


def _steps(
    root: str | os.PathLike[str], onerror: Callable[[OSError], object] | None, *, force: bool
) -> Iterator[Folder | tuple[int, str]]:
    """Yields a Folder when it is entered; its parent's descriptor and its name when it is left."""
    levels: list[_Level] = []

    def entered(name: str) -> Iterator[Folder]:
        depth = len(levels)
        try:
            _enter(levels, name, force=force)
            folder = _read(levels[-1])
        except OSError as error:
            error.filename = f"{os.fspath(root)}/{levels[depth - 1].path}/{name}" if depth else name
            for level in levels[depth:]:
                os.close(level.descriptor)
            del levels[depth:]
            if onerror is None:
                raise
            onerror(error)
            return
        yield folder
        if len(levels) > _KEPT_OPEN:
            levels[-_KEPT_OPEN - 1].close()

    try:
        yield from entered(os.fspath(root))
        while levels:
            here = levels[-1]
            if here.left:
                yield from entered(here.left.pop())
                continue
            if len(levels) > 1:
                yield levels[-2].reached_from(here), here.name
            levels.pop()
            here.close()
    finally:
        for level in levels:
            level.close()


def _enter(levels: list[_Level], name: str, *, force: bool) -> None:
    above = levels[-1].descriptor if levels else None
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        if not force:
            raise
        os.chmod(name, 0o700, dir_fd=above)
        descriptor = os.open(name, _FOLDER, dir_fd=above)
    path = "" if not levels else f"{levels[-1].path}/{name}" if levels[-1].path else name
    levels.append(_Level(path, descriptor, name))


def _read(level: _Level) -> Folder:
    with os.scandir(level.descriptor) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    folders = [entry.name for entry in ordered if entry.is_dir(follow_symlinks=False)]
    level.left = folders[::-1]
    others = [entry for entry in ordered if not entry.is_dir(follow_symlinks=False)]
    return Folder(level.path, level.descriptor, folders, others)
