"""The files of a run by the names that users type."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from amlexec.errors import UsageError
from amlexec.file_trees import walk

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
    return [paths.log, paths.stdout, paths.stderr, paths.metrics, paths.record, paths.tags, paths.note]


def names(paths: RunPaths, onerror: Callable[[OSError], object] | None = None) -> list[str]:
    """Every artifact: the logs, the metrics, the record, and `outputs/…`, sorted by name.

    Only files and links, no pipes or sockets. No link is followed.

    Args:
        paths: the run's paths.
        onerror: called with the error of each folder that can't be read; without it, errors are raised.
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
    """The file of the artifact `name`: a log, also by Workbench's name, or a file of `outputs/`.

    Raises:
        UsageError: the run has no such artifact.
    """
    plain = _WORKBENCH.get(name, name)
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    candidates = [path for path in _known(paths) if path.name == plain]
    if parts and ".." not in parts and not plain.startswith("/"):
        if parts[0] == "outputs":
            candidates.append(paths.folder.joinpath(*parts))
        # Scripts name their uploads without `outputs/`.
        candidates.append(paths.outputs.joinpath(*parts))
    for path in candidates:
        if _is_own(path, paths):
            return path
    artifacts = names(paths, lambda _: None)
    from difflib import get_close_matches

    near = [artifact for artifact in artifacts if artifact.startswith(f"{plain.rstrip('/')}/")][:3]
    near = near or get_close_matches(plain, artifacts, n=3)
    raise UsageError(
        f"the run {paths.folder.name} has no artifact {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(artifacts[:10])}",
    )


def _is_own(path: Path, paths: RunPaths) -> bool:
    """Whether it is a file of the run, or a link in `outputs` to a file in `outputs`."""
    try:
        if path.parent == paths.folder:
            return stat.S_ISREG(os.lstat(path).st_mode)
        real, home = os.path.realpath(path), os.path.realpath(paths.folder)
        return real.startswith(f"{home}/outputs/") and stat.S_ISREG(os.lstat(real).st_mode)
    except (OSError, ValueError):  # does not exist, is too long, or contains a NUL
        return False


def copy(paths: RunPaths, chosen: list[str], folder: Path, *, overwrite: bool) -> None:
    """Copy files of the run, by their names in its folder, into `folder`, with the same relative paths.

    Links are copied as links. Each file is written atomically.

    Raises:
        UsageError: a file exists already, and `overwrite` is false. No file is copied.
        OSError: a file can't be read or written; those before it have been copied.
    """
    by_folder: dict[str, list[str]] = {}
    for name in chosen:
        above, _, last = name.rpartition("/")
        by_folder.setdefault(above, []).append(last)
    if not overwrite and folder.exists():
        existing = [name for above, own in by_folder.items() for name in _existing(folder, above, own)]
        if existing:
            more = f" and {len(existing) - 1} more already exist" if len(existing) > 1 else " already exists"
            raise UsageError(f"{folder / existing[0]}{more}", hint="--overwrite, or another folder with -d")
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


def _existing(folder: Path, above: str, wanted: list[str]) -> list[str]:
    try:
        descriptor = _open_folder(folder, above, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        with os.scandir(descriptor) as entries:
            existing = {entry.name for entry in entries}
    finally:
        os.close(descriptor)
    return [f"{above}/{name}" if above else name for name in wanted if name in existing]


def _open_folder(root: Path, name: str, *, make: bool = False, follow: bool = False) -> int:
    """A descriptor of a folder below `root`, for paths of any length; with `make`, created if missing.

    Links are followed only in the folder that the user has chosen to copy into.
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
    """Copy a file or link from one folder to another, atomically; follows no link."""
    # shutil takes six times as long, and many outputs are small. `files.write_atomically` takes neither
    # large files, nor links, nor folders by descriptor.
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
    status = os.fstat(reading)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "It is no longer a file")
    writing = os.open(beside, _WRITING, 0o600, dir_fd=target)
    try:
        # Stop at the size: a last empty read would cost a system call for each of many small files.
        left = status.st_size
        while left > 0 and (chunk := os.read(reading, min(left, _CHUNK))):
            left -= len(chunk)
            while chunk:
                chunk = chunk[os.write(writing, chunk) :]
        os.fchmod(writing, stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(writing)
