"""Walk through folders, and remove them, at any depth. No link is followed, and none can be put in between.

Folders are opened one from the other, by their descriptors, so paths may be longer than the system's limit.
"""

from __future__ import annotations

import errno
import os
import stat

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Folder", "remove_tree", "walk"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_OPEN = 64
"""How many parent folders keep their descriptors open during a walk; higher ones are opened again."""


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
