"""The files of a model: which they are, their digest, and checks of copies."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.digest import canonical_json, of_bytes, of_file
from amlexec.errors import TargetError, UsageError
from amlexec.file_trees import walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Content", "File", "changed", "digest_of", "is_path", "scan"]

_MOST_FILES = 100_000
_EXECUTABLE = 0o100


class File(NamedTuple):
    """A file of a model."""

    path: str
    """With `/`; its first part is the name of the registered file or folder."""
    size: int
    sha256: str
    executable: bool = False


class Content(NamedTuple):
    """The files of a model, sorted by path."""

    root: str
    """The name of the registered file or folder."""
    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """The sha256 of names, bytes and executable bits of all files."""
        return digest_of(self.files)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files)


def digest_of(files: Sequence[File]) -> str:
    """The digest of files, which are sorted by path."""
    return of_bytes(canonical_json([[file.path, file.sha256, file.executable] for file in files]))


def is_path(text: str) -> bool:
    """Whether a text can be the path of a file of a model: relative, and not out of its folder."""
    return (
        0 < len(text) <= 4096
        and not any(part in {"", ".", ".."} for part in text.split("/"))
        and not any(ord(sign) < 32 or ord(sign) == 127 or 0xD800 <= ord(sign) < 0xE000 for sign in text)
    )


def scan(path: Path, within: Path | None = None) -> Content:
    """Read a file or folder that is to be registered. A link to a file of the folder counts as the file.

    `within` is a folder that it may not lead out of, by links.

    Raises:
        UsageError: it does not exist, is empty, or a link leads out of it.
        TargetError: a file can't be read.
    """
    try:
        real = path.resolve(strict=True)
        if within is not None and not real.is_relative_to(within.resolve()):
            raise UsageError("this is a link that leads out of its folder", where=str(path))
        if not real.is_dir():
            files = [_file(real, path.name)]
        else:
            files = sorted(_files(path.name or real.name, real))
    except FileNotFoundError as error:
        raise UsageError(
            "there is no such file or folder", where=str(error.filename or path), hint="name a model's file"
        ) from None
    except OSError as error:
        raise TargetError(
            f"the model can't be read: {error.strerror}", where=str(error.filename or path)
        ) from error
    if not files:
        raise UsageError("the folder is empty: there is no model in it", where=str(path))
    return Content(path.name or real.name, tuple(files))


def _files(name: str, root: Path) -> Iterator[File]:
    count = 0
    for folder in walk(root):
        inside = f"{name}/{folder.path}" if folder.path else name
        for entry in folder.others:
            path = root / folder.path / entry.name
            if entry.is_symlink():
                target = path.resolve(strict=True)
                if not target.is_relative_to(root):
                    raise UsageError(
                        f"this link leads out of the model's folder, to {target}",
                        where=str(path),
                        hint="replace the link by the file itself: cp -L",
                    )
                if target.is_dir():
                    raise UsageError("this is a link to a folder", where=str(path), hint="cp -rL the folder")
                path = target
            count += 1
            if count > _MOST_FILES:
                raise UsageError(f"the folder has more than {_MOST_FILES} files", where=str(root))
            yield _file(path, f"{inside}/{entry.name}")


def _file(path: Path, name: str) -> File:
    if not is_path(name):
        raise UsageError(
            "the name of a model's file has control characters or is not UTF-8", where=ascii(str(path))[1:-1]
        )
    sha256 = of_file(str(path))
    status = path.stat()
    return File(name, status.st_size, sha256, bool(status.st_mode & _EXECUTABLE))


def changed(folder: Path, content: Content) -> str:
    """What differs between the files in `folder` and what was registered, in a phrase; "" if nothing does.

    Links count as changes: none was registered.
    """
    expected = {file.path: file for file in content.files}
    try:
        for each in walk(folder):
            for entry in each.others:
                name = f"{each.path}/{entry.name}" if each.path else entry.name
                file = expected.pop(name, None)
                if file is None:
                    return f"{name} was added"
                status = os.lstat(folder / name)
                if not stat.S_ISREG(status.st_mode):
                    return f"{name} was replaced"
                if status.st_size != file.size or of_file(str(folder / name)) != file.sha256:
                    return f"{name} was changed"
    except OSError as error:
        return f"{error.filename or folder} can't be read: {error.strerror}"
    return f"{min(expected)} is missing" if expected else ""
