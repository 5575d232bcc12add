"""The archive that is sent to a machine for a run: missing parts of the snapshot, and the runtime."""

from __future__ import annotations

import functools
import hashlib
import tarfile
from typing import IO, TYPE_CHECKING

from amlexec.console import say
from amlexec.runtime import HERE, SERVING
from amlexec.snapshots import transfer
from amlexec.targets.answers import LONGEST_LINE

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.values import Project

__all__ = ["pack", "runtime_digest", "show_waiting"]

_LINES_A_TIME = 6
"""Waiting lines, one every five seconds, of which one is shown."""
_BLOCK = 1 << 18
"""Bytes of an archive that are written together."""


def pack(
    project: Project, changes: transfer.Difference, record: Path, archive: IO[bytes], *, runtime: bool
) -> None:
    """Write the archive for `stage` of `runtime/host.sh`; with `runtime`, it includes the files of `HERE`.

    The server of services is not among them: it only travels into images.
    """
    # Names may contain every byte but NUL: the GNU format stores them unchanged.
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
        # So that other computers find the run; `start` replaces it by the record with the snapshot.
        packed.add(record, "run.json", filter=_plain)
        packed.addfile(tarfile.TarInfo("whole"))


def show_waiting(source: IO[bytes], where: str) -> None:
    """Read the output of `stage` to its end, and print what it waits for."""
    number = 0
    while line := source.readline(LONGEST_LINE):
        if line.startswith(b"wait ") and number % _LINES_A_TIME == 0:
            say(f"{where}: waiting: {line[5:].decode(errors='replace').strip()}")
        number += 1


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name or entry.name == f"runtime/{SERVING.name}":
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


@functools.lru_cache(maxsize=1)
def runtime_digest() -> str:
    """The name of the runtime's folder on a machine; `whole` of host.sh computes the same digest."""
    found = hashlib.sha256()
    files = (path for path in HERE.rglob("*") if path.is_file() and path.suffix in {".sh", ".py"})
    sent = (path for path in files if not path.is_relative_to(SERVING))
    for path in sorted(sent, key=lambda path: path.relative_to(HERE).as_posix().encode()):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
