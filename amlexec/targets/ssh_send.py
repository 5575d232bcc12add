"""The archive that is sent to a machine for a run: missing parts of the snapshot, and the runtime."""

from __future__ import annotations

import io
import tarfile
from typing import IO, TYPE_CHECKING, cast

from amlexec.console import say
from amlexec.models import run_folder
from amlexec.runtime import HERE, SERVING
from amlexec.snapshots import transfer
from amlexec.tar import Written
from amlexec.targets.answers import LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from amlexec.history.paths import RunPaths
    from amlexec.values import Project

__all__ = ["file_of", "files_of", "pack", "run_of", "show_waiting"]

_LINES_A_TIME = 6
"""Waiting lines, one every five seconds, of which one is shown."""
_BLOCK = 1 << 18
"""Bytes of an archive that are written together."""


def pack(
    project: Project,
    changes: transfer.Difference,
    add: Callable[[tarfile.TarFile], object],
    archive: IO[bytes],
    *,
    runtime: bool,
) -> None:
    """Write the archive for `stage` of `runtime/host.sh`; with `runtime`, it includes the files of `HERE`.

    `add` adds the runs' own files. The server of services is not among the runtime's: it only travels into
    images.
    """
    # Names may contain every byte but NUL: the GNU format stores them unchanged.
    written = Written(archive)
    with tarfile.open(
        fileobj=cast("IO[bytes]", written),
        mode="w",
        format=tarfile.GNU_FORMAT,
        errors="surrogateescape",
    ) as packed:
        packed.copybufsize = _BLOCK  # type: ignore[attr-defined] # tarfile reads it, and its types lack it
        transfer.pack(project, changes.sent, changes.gone, packed)
        if runtime:
            packed.add(HERE, "runtime", filter=_plain)
        add(packed)
        packed.addfile(tarfile.TarInfo("whole"))
    written.flush()


def run_of(paths: RunPaths) -> Callable[[tarfile.TarFile], object]:
    """Adds a run's models, and its record, so that other computers find the run; `start` replaces it."""

    def add(packed: tarfile.TarFile) -> None:
        run_folder.add_to(paths.folder / run_folder.FOLDER, run_folder.FOLDER)(packed)
        packed.add(paths.record, "run.json", filter=_plain)

    return add


def file_of(name: str, data: bytes) -> Callable[[tarfile.TarFile], object]:
    """Adds a file of that name."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    return lambda packed: packed.addfile(entry, io.BytesIO(data))


def files_of(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A compressed archive of small files, by their names."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as packed:
        folders: set[str] = set()
        for name, data in files:
            for at in [at for at, sign in enumerate(name) if sign == "/"]:
                if name[:at] not in folders:
                    folders.add(name[:at])
                    entry = tarfile.TarInfo(name[:at])
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o700
                    packed.addfile(entry)
            file_of(name, data)(packed)
    return made.getvalue()


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
