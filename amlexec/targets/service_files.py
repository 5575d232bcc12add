"""The files of a run in a cloud service: into its storage before it starts, and home from there."""

from __future__ import annotations

import os
import tarfile
import tempfile
from typing import TYPE_CHECKING

from amlexec.errors import UnreachableError
from amlexec.files import open_to_write, touch
from amlexec.models import run_folder
from amlexec.runtime import SITE
from amlexec.tar import Tar
from amlexec.targets import own_files, safe_tar
from amlexec.targets.outputs import bring
from amlexec.targets.run_folders import hand_on, incoming
from amlexec.targets.service import BLOCK
from amlexec.targets.service_command import FILES
from amlexec.targets.volumes import CHECKOUT, LOGGED
from amlexec.targets.volumes import SITE as SITE_THERE
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.targets.service import Storage

__all__ = ["ServiceLog", "bring_home", "copy", "metrics", "send"]

_IN_MEMORY = 16 << 20
OUTPUTS = "outputs.tar"


def send(storage: Storage, paths: RunPaths, metadata: dict[str, str]) -> None:
    """Create it with the copy of the project and the runtime. Raises UnreachableError, TargetError."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as packed:
        with Tar.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as archive:
            archive.add(SITE, SITE_THERE.lstrip("/"), filter=_of_runtime)
            archive.add(paths.checkout, CHECKOUT.lstrip("/"), filter=_of_root)
            models = f"{LOGGED}/{run_folder.FOLDER}".lstrip("/")
            run_folder.add_to(paths.folder / run_folder.FOLDER, models)(archive)
        packed.seek(0)
        storage.create(metadata, FILES, packed)


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, "", ""
    return entry


def _of_runtime(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else _of_root(entry)


class ServiceLog:
    """The local copy of a log, a beginning of the one in the storage; its content is passed to `sink`."""

    def __init__(self, path: Path, name: str, sink: Callable[[bytes], object] = len) -> None:
        self._path, self._name, self._sink = path, name, sink
        self.position = hand_on(path, 0, sink)

    @property
    def next(self) -> tuple[str, int]:
        """The file in the storage, and the position from where on it is new."""
        return self._name, self.position

    def add(self, piece: bytes) -> bool:
        """Add what is new; whether there may be more."""
        if piece:
            descriptor = open_to_write(self._path)
            try:
                # At its offset: two processes that follow one run write the same file.
                data, at = piece, self.position
                while data:
                    written = os.pwrite(descriptor, data, at)
                    data, at = data[written:], at + written
            finally:
                os.close(descriptor)
            self._sink(piece)
            self.position += len(piece)
        return len(piece) == BLOCK

    def show_rest(self) -> None:
        """Pass on what another process has copied since."""
        self.position = hand_on(self._path, self.position, self._sink)


def copy(storage: Storage, logs: Sequence[ServiceLog]) -> bool:
    """Copy what is new of several logs; whether there was anything."""
    before = [log.position for log in logs]
    left = logs
    while left:
        pieces = storage.read_several([log.next for log in left])
        left = [log for log, piece in zip(left, pieces, strict=True) if log.add(piece)]
    return before != [log.position for log in logs]


def metrics(paths: RunPaths) -> ServiceLog:
    """The metrics of a run that goes on."""
    return ServiceLog(paths.metrics, paths.metrics.name)


def bring_home(storage: Storage, paths: RunPaths, *, is_whole: bool) -> list[NotCollected]:
    """Collect logs, metrics and outputs; returns what was not collected. Idempotent.

    `is_whole` says that the run has sent everything.
    """
    logs = [ServiceLog(path, path.name) for path in (paths.stdout, paths.stderr)]
    for path in (paths.stdout, paths.stderr):
        touch(path)
    # What is left of the logs comes with the outputs: it is nothing, if somebody has followed the run.
    of_outputs = [(OUTPUTS, 0)] if is_whole else []
    pieces = storage.read_several([*(log.next for log in logs), *of_outputs])
    first = pieces.pop() if is_whole else b""
    copy(storage, [log for log, piece in zip(logs, pieces, strict=True) if log.add(piece)])
    if not first:
        copy(storage, [metrics(paths)])
        return (
            [NotCollected("outputs", "the container ended before it had sent them")] if not is_whole else []
        )
    with incoming(paths) as folder:
        found = safe_tar.unpack(
            _Reader(storage, OUTPUTS, first).read,
            folder,
            owner=(os.getuid(), os.getgid()),
            outward_links=True,
        )
        if found.broken:
            # Its state says that it is whole: what was read is not.
            raise UnreachableError(f"the outputs were cut off: {found.broken}", where=storage.address)
        refused = [
            NotCollected(_named(each.path), each.reason, kept=not each.holds_nothing)
            for each in found.refused
        ]
        for name in ("logged", "project"):
            (folder / name).mkdir(exist_ok=True)
        missing = own_files.put_in_place(folder / "logged", paths, [LOGGED])
        return missing + bring(folder / "project", paths.outputs, [CHECKOUT], refused=refused)


class _Reader:
    """Reads a file of a storage in order, in pieces: a lost connection costs no more than one."""

    def __init__(self, storage: Storage, name: str, first: bytes) -> None:
        self._storage, self._name = storage, name
        self._held, self._position = first, len(first)
        self._is_over = len(first) < BLOCK

    def read(self, size: int) -> bytes:
        """The next bytes: fewer than `size` only at the end."""
        while len(self._held) < size and not self._is_over:
            data = self._storage.read(self._name, self._position)
            self._position += len(data)
            self._held += data
            self._is_over = len(data) < BLOCK
        data, self._held = self._held[:size], self._held[size:]
        return data


def _named(path: str) -> str:
    return path.removeprefix("project/").removeprefix("logged/")
