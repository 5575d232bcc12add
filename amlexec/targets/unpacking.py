"""Taking files out of a tar archive that came from a target."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["extract"]


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
