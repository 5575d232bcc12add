"""A run in one file: its record, its snapshot, and the resolved lock of its environment.

The file is a tar archive. Equal runs give equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import IO, TYPE_CHECKING

from amlexec import outside
from amlexec.environments import resolved_lock
from amlexec.errors import TargetError, UsageError
from amlexec.files import open_regular
from amlexec.history import folders, outputs_manifest
from amlexec.history.record import FINAL
from amlexec.packages.stable_tar import EPOCH
from amlexec.snapshots import read as snapshots
from amlexec.snapshots import transfer
from amlexec.tar import Tar

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["ABOUT", "FORMAT", "LOCK", "OUTPUTS", "SNAPSHOT", "write"]

FORMAT = 1
ABOUT = "bundle.json"
"""The first entry: what the file is."""
LOCK = "environment.lock"
SNAPSHOT = "snapshot"
"""The folder with the files of the snapshot."""
OUTPUTS = "outputs"


def write(project: Project, paths: RunPaths, to: Path, *, outputs: bool = False) -> Run:
    """Write a run into the new file `to`, with its outputs if asked for; the run.

    Without its outputs, the file has their names, sizes and hashes: a rerun can be compared with them.

    Raises:
        UsageError: the file exists already.
        TargetError: the run has not ended; its snapshot or its lock is no longer here.
        OSError: the file can't be written, or an output can't be read.
    """
    run = folders.read(paths)
    lock = _must_be_whole(project, run)
    assert run.snapshot is not None, "it is whole"
    if os.path.lexists(to):
        raise UsageError(f"{to} exists already", hint="name a new file: nothing is ever overwritten")
    files = transfer.difference(project, "", run.snapshot.tree)
    assert files is not None, "the snapshot is here"
    with outside.beside(project, to) as beside:
        with beside.open("xb") as file:
            with Tar.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                about = {"format": FORMAT, "run_id": run.run_id}
                _add(archive, ABOUT, json.dumps(about, indent=2) + "\n")
                with open_regular(paths.record, follow=False) as record:
                    _add_file(archive, paths.record.name, record)
                if lock:
                    _add(archive, LOCK, lock)
                if paths.metrics.is_file():
                    with open_regular(paths.metrics, follow=False) as metrics:
                        _add_file(archive, paths.metrics.name, metrics)
                _add(archive, outputs_manifest.NAME, _outputs_of(paths))
                transfer.add_files(project, files.sent, SNAPSHOT, archive, EPOCH)
                if outputs:
                    _add_outputs(archive, paths)
            file.flush()
            os.fsync(file.fileno())
        _publish(beside, to)
    return run


def _publish(beside: Path, to: Path) -> None:
    """Give the file its name, unless there is a file of that name by now."""
    try:
        to.hardlink_to(beside)  # unlike a rename, this never replaces a file
    except FileExistsError:
        raise UsageError(f"{to} exists already", hint="name a new file: nothing is overwritten") from None
    except OSError:
        # A file system without hard links.
        if os.path.lexists(to):
            raise UsageError(f"{to} exists already", hint="name a new file: nothing is overwritten") from None
        beside.rename(to)


def _must_be_whole(project: Project, run: Run) -> str:
    """The text of the run's resolved lock; "" if it never had one. Raises TargetError."""
    if run.status not in FINAL:
        raise TargetError(f"{run.run_id} is {run.status}: it can be packed when it has ended")
    if run.snapshot is None:
        raise TargetError(f"{run.run_id} has no snapshot: it ended before one was taken")
    if not snapshots.exists(project, run.snapshot.tree):
        raise TargetError(f"the snapshot of {run.run_id} no longer exists: {run.snapshot.tree[:12]}")
    if run.environment_lock is None:
        return ""
    lock = resolved_lock.recall(project, run.environment_lock)
    if lock is None:
        raise TargetError(
            f"the resolved lock of {run.run_id} is no longer on this computer: {run.environment_lock[:12]}",
            where=str(resolved_lock.path_of(project, run.environment_lock)),
        )
    return lock


def _outputs_of(paths: RunPaths) -> str:
    """The list of a run's outputs; of a run that came from a bundle without them, the list from there."""
    came_with = outputs_manifest.read(paths)
    if came_with is not None and not os.path.lexists(paths.outputs):
        return outputs_manifest.text_of(came_with)
    return outputs_manifest.text_of(outputs_manifest.hashed(paths.outputs))


def _add_outputs(archive: tarfile.TarFile, paths: RunPaths) -> None:
    for name, output in sorted(outputs_manifest.listed(paths.outputs).items()):
        if output.form == outputs_manifest.LINK:
            entry = _entry(f"{OUTPUTS}/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, output.content
            archive.addfile(entry)
            continue
        with open_regular(paths.outputs / name, follow=False) as file:
            _add_file(archive, f"{OUTPUTS}/{name}", file)


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    entry = _entry(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _add_file(archive: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    entry = _entry(name)
    entry.size = os.fstat(file.fileno()).st_size
    archive.addfile(entry, file)


def _entry(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = 0o600, EPOCH
    return entry
