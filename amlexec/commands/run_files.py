"""The files of a run by the names that its readers know them by."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from amlexec.errors import UsageError
from amlexec.files import walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.history.paths import RunPaths

__all__ = ["copy", "find", "names"]

_CHUNK = 1 << 20
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_WORKBENCH = {
    "driver_log": "stdout.log",
    "driver_log.txt": "stdout.log",
    "control_log": "control.log",
    "control_log.txt": "control.log",
}


def _known(paths: RunPaths) -> list[Path]:
    return [paths.log, paths.stdout, paths.stderr, paths.metrics, paths.record]


def names(paths: RunPaths, onerror: Callable[[OSError], object] | None = None) -> list[str]:
    """Every artifact that is there: the logs, the metrics, the record, and `outputs/…` in order of name.

    Files and links below `outputs`; no pipes or sockets that a script may have left. No link is followed.

    Args:
        paths: those of the run.
        onerror: is given the error of each folder that can't be read; without it the error is raised.
    """
    found = [path.name for path in _known(paths) if not path.is_symlink() and path.is_file()]
    if not os.path.lexists(paths.outputs):
        return found
    outputs: list[str] = []
    for folder in walk(paths.outputs, onerror):
        prefix = f"outputs/{folder.path}/" if folder.path else "outputs/"
        outputs += [
            prefix + entry.name
            for entry in folder.others
            if entry.is_file(follow_symlinks=False) or entry.is_symlink()
        ]
    return found + sorted(outputs)


def find(paths: RunPaths, name: str) -> Path:
    """The file of the artifact `name`: a log, Workbench's name for one, or a file of `outputs/`.

    Raises:
        UsageError: the run has none of that name.
    """
    plain = _WORKBENCH.get(name, name)
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    candidates = [path for path in _known(paths) if path.name == plain]
    if parts and ".." not in parts and not plain.startswith("/"):
        if parts[0] == "outputs":
            candidates.append(paths.folder.joinpath(*parts))
        # Scripts name what they upload without `outputs/`.
        candidates.append(paths.outputs.joinpath(*parts))
    for path in candidates:
        if _is_own(path, paths):
            return path
    there = names(paths, lambda _: None)
    from difflib import get_close_matches

    near = [each for each in there if each.startswith(f"{plain.rstrip('/')}/")][:3]
    near = near or get_close_matches(plain, there, n=3)
    raise UsageError(
        f"the run {paths.folder.name} has no artifact {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(there[:10])}",
    )


def _is_own(path: Path, paths: RunPaths) -> bool:
    """Whether it is a file of the run's, or a link in `outputs` to one that is in there too."""
    try:
        if path.parent == paths.folder:
            return stat.S_ISREG(os.lstat(path).st_mode)
        real, home = os.path.realpath(path), os.path.realpath(paths.folder)
        return real.startswith(f"{home}/outputs/") and stat.S_ISREG(os.lstat(real).st_mode)
    except (OSError, ValueError):  # not there, too long, or with a NUL in it
        return False


def copy(paths: RunPaths, chosen: list[str], folder: Path, *, overwrite: bool) -> None:
    """Copy files of the run, by their names in its folder, into `folder`, each to the same place.

    Links are copied as links. Each file is put in its place whole.

    Raises:
        UsageError: a file is there already, and `overwrite` doesn't allow to replace it. None is copied.
        OSError: one can't be read or written; those before it have been copied.
    """
    by_folder: dict[str, list[str]] = {}
    for name in chosen:
        above, _, last = name.rpartition("/")
        by_folder.setdefault(above, []).append(last)
    if not overwrite and folder.exists():
        there = [name for above, own in by_folder.items() for name in _there(folder, above, own)]
        if there:
            more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
            raise UsageError(
                f"{folder / there[0]}{more} there already", hint="--overwrite, or another folder with -d"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for above, own in by_folder.items():
        source = _open_folder(paths.folder, above)
        try:
            target = _open_folder(folder, above, make=True)
            try:
                for name in own:
                    _copy(name, source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)


def _there(folder: Path, above: str, wanted: list[str]) -> list[str]:
    try:
        descriptor = _open_folder(folder, above, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        with os.scandir(descriptor) as entries:
            there = {entry.name for entry in entries}
    finally:
        os.close(descriptor)
    return [f"{above}/{name}" if above else name for name in wanted if name in there]


def _open_folder(root: Path, name: str, *, make: bool = False, follow: bool = False) -> int:
    """A descriptor of a folder below `root`, however long its path is; with `make`, made where it is missing.

    Links are followed only in what the reader has chosen to copy into.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    for part in name.split("/") if name else ():
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, flags | (0 if make or follow else os.O_NOFOLLOW), dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _copy(name: str, source: int, target: int) -> None:
    """Copy a file or link from one folder to another: whole or not at all, and no link is followed."""
    # Not by shutil, which takes six times as long: many outputs are small. Nor by
    # `files.write_atomically`: it may be large, or a link, in a folder that only a descriptor names.
    beside = f".{os.getpid()}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside, dir_fd=target)
    try:
        try:
            reading = os.open(name, _READING, dir_fd=source)
        except OSError:
            if not stat.S_ISLNK(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
                raise
            os.symlink(os.readlink(name, dir_fd=source), beside, dir_fd=target)
        else:
            try:
                _copy_content(reading, beside, target)
            finally:
                os.close(reading)
        os.rename(beside, name, src_dir_fd=target, dst_dir_fd=target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=target)
        if isinstance(error, OSError):
            error.filename = name
        raise


def _copy_content(reading: int, beside: str, target: int) -> None:
    told = os.fstat(reading)
    if not stat.S_ISREG(told.st_mode):
        raise OSError(errno.EINVAL, "It is no file any more")
    writing = os.open(beside, _WRITING, 0o600, dir_fd=target)
    try:
        # One read more than it takes would be a system call for each of many small files.
        left = told.st_size
        while left > 0 and (chunk := os.read(reading, min(left, _CHUNK))):
            left -= len(chunk)
            while chunk:
                chunk = chunk[os.write(writing, chunk) :]
        os.fchmod(writing, stat.S_IMODE(told.st_mode) & 0o777)
        os.utime(writing, ns=(told.st_atime_ns, told.st_mtime_ns))
    finally:
        os.close(writing)
