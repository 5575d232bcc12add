"""Taking files out of a tar archive that came from a target."""

from __future__ import annotations

import hashlib
import os
import tarfile
from typing import TYPE_CHECKING, Any

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["extract", "must_be_whole"]


def extract(archive: tarfile.TarFile, entry: tarfile.TarInfo, into: Path, *, ours: bool = False) -> None:
    """Write one entry below `into`, never outside of it; with `ours`, as a file of the caller's.

    Devices and pipes of another machine mean nothing here, and are left out.
    """
    if not (entry.isdir() or entry.isfile() or entry.issym() or entry.islnk()):
        return
    # What could not be read or removed here would only be in the way.
    entry.mode |= 0o700 if entry.isdir() else 0o600
    if ours:
        entry.uid, entry.gid, entry.uname, entry.gname = os.getuid(), os.getgid(), "", ""
    # Python 3.10 before its security releases has no filters.
    options: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
    archive.extract(entry, into, set_attrs=not entry.issym(), **options)


def must_be_whole(came: Path, digests: bytes, where: str) -> None:
    """Compare the files below `came` with digests in the form of sha256sum(1).

    Raises:
        TargetError: one of them is another file than it was on the machine.
    """
    for line in digests.split(b"\n"):
        digest, _, name = line.partition(b"  ")
        path = came / os.fsdecode(name)
        if line.startswith(b"\\") or not path.is_file():
            continue  # sha256sum escapes names with line ends; tar has checked that they are there
        with path.open("rb") as file:
            found = hashlib.sha256()
            while chunk := file.read(1 << 20):
                found.update(chunk)
        if found.hexdigest() != digest.decode():
            raise TargetError(
                f"{os.fsdecode(name)} has changed on its way here, or is still being written",
                where=where,
                hint="fetch it again: amlexec experiment return -r RUN",
            )
