"""Reproducible tar archives: equal files give equal bytes, on every machine at any time."""

from __future__ import annotations

import os
import stat
import tarfile
from typing import IO

from amlexec.tar import Tar

__all__ = ["EPOCH", "write"]

EPOCH = 1_500_000_000
"""The time of every entry, in seconds since 1970. Not 0: zip files and some tools refuse that."""


def write(folder: str, prefix: str, into: IO[bytes]) -> int:
    """Write the tree `folder` as a tar archive under the name `prefix`; returns the number of files.

    Sorted by name; owned by root; all times are `EPOCH`; hard links become separate files; of modes only the
    executable bit is kept.
    """
    count = 0
    with Tar.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        at = ""
        for part in prefix.strip("/").split("/")[:-1]:
            at = f"{at}{part}/"
            archive.addfile(_entry(at.rstrip("/"), tarfile.DIRTYPE, 0o755))
        for name, path, status in _walk(folder, prefix.strip("/")):
            if stat.S_ISDIR(status.st_mode):
                archive.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
            elif stat.S_ISLNK(status.st_mode):
                entry = _entry(name, tarfile.SYMTYPE, 0o777)
                entry.linkname = os.readlink(path)  # noqa: PTH115 - tens of thousands of files
                archive.addfile(entry)
            elif stat.S_ISREG(status.st_mode):
                entry = _entry(name, tarfile.REGTYPE, 0o755 if status.st_mode & 0o111 else 0o644)
                entry.size = status.st_size
                with open(path, "rb") as file:  # noqa: PTH123
                    archive.addfile(entry, file)
                count += 1
    return count


def _walk(folder: str, name: str) -> list[tuple[str, str, os.stat_result]]:
    found = [(name, folder, os.lstat(folder))]
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            inner = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                found += _walk(entry.path, inner)
            else:
                found.append((inner, entry.path, entry.stat(follow_symlinks=False)))
    return found


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, EPOCH
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
