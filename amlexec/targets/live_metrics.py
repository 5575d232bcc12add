"""Metrics of a run that goes on: new bytes of its `metrics.jsonl` are copied here when its state is read.

The local file is a beginning of the one on the target, so its size says what is new. When the run is
collected, the whole file replaces it.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from amlexec.files import open_regular, open_to_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from amlexec.docker.client import Engine
    from amlexec.history.paths import RunPaths

__all__ = ["added", "copied", "from_container", "is_changed", "size", "taken"]

_REPLACED = "\N{REPLACEMENT CHARACTER}".encode()
_HEADER = re.compile(r"M ([0-9]{1,15}) ([0-9]{1,15})\n", re.ASCII)
_MOST = 64 << 20
"""Bytes that are copied at once from a container or a local folder; the next reading continues."""
_BLOCK = 1 << 20


def size(paths: RunPaths) -> int:
    """Bytes of the metrics that are here."""
    try:
        return os.lstat(paths.metrics).st_size
    except FileNotFoundError:
        return 0


def taken(paths: RunPaths, ask: Callable[[str], str]) -> str:
    """Take the metrics out of the output of the verb `state` or `metrics`; returns the rest.

    `ask` calls the verb for the metrics after a number of bytes. Metrics that did not arrive whole, or can't
    be written here, are left out: the next reading gets them.
    """
    while True:
        start = size(paths)
        output = ask(str(start))
        header = _HEADER.search(output)
        if header is None:
            return output
        sent, total = int(header[1]), int(header[2])
        data = output[header.end() :].encode()
        if total < start:
            _forget(paths)
        is_whole = not is_changed(data, sent)
        if not (sent and is_whole and _write(paths, start, data) and start + sent < total):
            return output[: header.start()]


def is_changed(data: bytes, sent: int) -> bool:
    """Whether these are not the `sent` bytes: some are missing, or were no text and were replaced."""
    return len(data) != sent or _REPLACED in data


def added(paths: RunPaths, start: int, data: bytes, total: int) -> None:
    """Take bytes of a file of `total` that follow the first `start`, which are here."""
    if total < start:
        _forget(paths)
    elif data:
        _write(paths, start, data)


def copied(paths: RunPaths, folder: Path) -> None:
    """Copy new metrics from a local folder that a container writes to.

    Without them the run is no worse: what can't be read or written now is copied by the next call.
    """
    with contextlib.suppress(OSError), open_regular(folder / paths.metrics.name, follow=False) as file:
        start = size(paths)
        if os.fstat(file.fileno()).st_size < start:
            _forget(paths)
            start = 0
        file.seek(start)
        for _ in range(_MOST // _BLOCK):
            data = file.read(_BLOCK)
            if not data or not _write(paths, start, data):
                return
            start += len(data)


def from_container(engine: Engine, container: str, path: str, paths: RunPaths) -> None:
    """Copy new metrics out of a running container, as the file `path`. Raises as `archives.get` does.

    What can't be written here, or was cut off, is copied by the next call.
    """
    from amlexec.docker import archives
    from amlexec.targets.tar_reader import FILE, NotTarError, TarReader

    start = size(paths)
    with archives.get(engine, container, path) as stream:
        reader = TarReader(stream.read)
        with contextlib.suppress(NotTarError, OSError):
            for entry in reader:
                if entry.kind != FILE or entry.size == start:
                    return
                if entry.size < start:
                    _forget(paths)
                    start = 0
                _append_after(paths, start, reader.content())
                return


def _append_after(paths: RunPaths, start: int, pieces: Iterable[bytes]) -> None:
    """Write the pieces of a whole file, without its first `start` bytes."""
    position = 0
    for piece in pieces:
        new = piece[max(start - position, 0) :]
        position += len(piece)
        if new and not _write(paths, position - len(new), new):
            return
        if position - start > _MOST:
            return


def _forget(paths: RunPaths) -> None:
    """The file on the target was replaced: what is here is not its beginning."""
    with contextlib.suppress(OSError):
        paths.metrics.unlink(missing_ok=True)


def _write(paths: RunPaths, start: int, data: bytes) -> bool:
    """Whether the bytes could be written at their place. The caller holds the run's lock."""
    try:
        descriptor = open_to_write(paths.metrics)
        try:
            while data:
                written = os.pwrite(descriptor, data, start)
                data, start = data[written:], start + written
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True
