"""What is sent to a machine for a run: what it lacks of the snapshot, and what travels into every run."""

from __future__ import annotations

import functools
import hashlib
import tarfile
from typing import IO, TYPE_CHECKING

from amlexec.console import say
from amlexec.runtime import HERE
from amlexec.snapshots import transfer
from amlexec.targets.answers import LONGEST_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.model import Project

__all__ = ["pack", "runtime_digest", "show_waiting"]

_LINES_A_TIME = 6
"""Of the lines that say what is waited for, one every five seconds, so many are for one that is shown."""
_BLOCK = 1 << 18
"""Bytes of an archive that are handed on together."""


def pack(
    project: Project, changes: transfer.Difference, record: Path, archive: IO[bytes], *, runtime: bool
) -> None:
    """Write the archive that `stage` of `runtime/host.sh` reads; with `runtime`, also what `HERE` has."""
    # Names may hold every byte but NUL: the GNU form takes them as they are.
    with tarfile.open(
        fileobj=archive,
        mode="w|",
        bufsize=_BLOCK,
        format=tarfile.GNU_FORMAT,
        errors="surrogateescape",
    ) as packed:
        packed.copybufsize = _BLOCK  # type: ignore[attr-defined] # tarfile reads it, and its types lack it
        transfer.pack(project, changes.sent, changes.gone, packed)
        if runtime:
            packed.add(HERE, "runtime", filter=_plain)
        # So that it can be found from everywhere: `start` puts the one with the snapshot in its place.
        packed.add(record, "run.json", filter=_plain)
        packed.addfile(tarfile.TarInfo("whole"))


def show_waiting(source: IO[bytes], where: str) -> None:
    """Read what `stage` says until it ends; show what it waits for."""
    number = 0
    while line := source.readline(LONGEST_LINE):
        if line.startswith(b"wait ") and number % _LINES_A_TIME == 0:
            say(f"{where}: waiting: {line[5:].decode(errors='replace').strip()}")
        number += 1


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


@functools.lru_cache(maxsize=1)
def runtime_digest() -> str:
    """What the folder with it is called there: `whole` of host.sh computes the same of what it finds."""
    found = hashlib.sha256()
    files = (path for path in HERE.rglob("*") if path.is_file() and path.suffix in {".sh", ".py"})
    for path in sorted(files, key=lambda path: path.relative_to(HERE).as_posix().encode()):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
