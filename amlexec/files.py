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
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

__all__ = [
    "SMALL",
    "append",
    "open_regular",
    "open_to_append",
    "open_to_write",
    "read_regular",
    "sync_folder",
    "touch",
    "write_atomically",
]

SMALL = 1 << 20
"""In bytes. Files of amlexec with a line or two are never larger."""
_FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
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
