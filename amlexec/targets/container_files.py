"""Copies files into a container before it starts, and out of it after it has ended."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from amlexec.docker import archives
from amlexec.docker.errors import EngineAnswerError
from amlexec.tar import Tar
from amlexec.targets import beneath, safe_tar
from amlexec.targets.tar_reader import FILE, NotTarError, TarReader
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amlexec.docker.client import Engine
    from amlexec.docker.streams import Archive
    from amlexec.targets.beneath import Parts

__all__ = ["CopyOut", "add_user", "fill"]

_IN_MEMORY = 16 << 20
"""Bytes of an archive in memory; a larger one is written to a temporary file."""
_NOT_THERE = (400, 404)
"""HTTP statuses for a missing file, or a file in place of a folder."""
_LIST = 1 << 20
"""Bytes; the limit for /etc/passwd and /etc/group."""
_LONG_PATH = 3300
"""Bytes; a file in such a folder may have a path that is longer than 4,095 bytes where the engine has it."""


def add_user(engine: Engine, container: str, uid: int, gid: int, user: str, home: str) -> None:
    """Add a user with that number, a name and a home folder to a container that has not started.

    Without a name, `getpass.getuser()`, `~`, ssh and git fail.
    """
    files = {}
    for name in ("passwd", "group"):
        try:
            with archives.get(engine, container, f"/etc/{name}") as stream:
                files[name] = _content(stream)
        except EngineAnswerError as error:
            if error.status != 404:
                raise
            files[name] = b""
    lines = {"passwd": f"{user}:x:{uid}:{gid}:{user}:{home}:/bin/sh\n", "group": f"{user}:x:{gid}:\n"}
    packed = io.BytesIO()
    with Tar.open(fileobj=packed, mode="w") as archive:
        folder = tarfile.TarInfo(home.lstrip("/"))
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, uid, gid
        archive.addfile(folder)
        for name, line in lines.items():
            # Ours first: the image may have another name for the same number.
            text = line.encode() + files[name]
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text))
    archives.put(engine, container, "/", packed.getvalue())


def _content(stream: Archive) -> bytes:
    """The content of an archive's only file; b"" if it is not a file or too large."""
    reader = TarReader(stream.read)
    try:
        for entry in reader:
            return b"".join(reader.content()) if entry.kind == FILE and entry.size <= _LIST else b""
    except NotTarError:
        pass  # a broken answer counts as an empty file
    return b""


def fill(engine: Engine, container: str, folders: Sequence[tuple[Path, str, tuple[int, int]]]) -> None:
    """Copy local folders into a container that has not started: what, to where, and for which user and group.

    In one archive: for each, the engine starts a process.
    """

    def owned(entry: tarfile.TarInfo, owner: tuple[int, int]) -> tarfile.TarInfo:
        (entry.uid, entry.gid), entry.uname, entry.gname = owner, "", ""
        return entry

    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as packed:
        with Tar.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for folder, into, owner in folders:
                archive.add(folder, into.lstrip("/"), filter=partial(owned, owner=owner))
        packed.seek(0)
        archives.put(engine, container, "/", packed)


class CopyOut:
    """Copies files out of a container that has ended into local folders."""

    def __init__(
        self, engine: Engine, container: str, copy: str, into: Path, owner: tuple[int, int] | None
    ) -> None:
        """`copy` is the container's path of the copy of the project, and `into` the local folder for it.

        If root calls, files get the owner `owner`.
        """
        self._engine, self._container, self._copy = engine, container, copy
        self._into, self._owner = into, owner

    def folder(self, path: str, into: Path) -> list[NotCollected]:
        """Copy the file or folder `path`, if it exists, into `into`; returns what was not copied."""
        into.mkdir(parents=True, exist_ok=True)
        try:
            stream = archives.get(self._engine, self._container, path)
        except EngineAnswerError as error:
            if error.status in _NOT_THERE:
                return []
            raise
        with stream:
            found = safe_tar.unpack(stream.read, into, owner=self._owner, outward_links=True)
        within, _, name = path.removeprefix(f"{self._copy}/").rpartition("/")
        missing = [
            NotCollected(_named(within, refused.path), refused.reason, kept=not refused.holds_nothing)
            for refused in found.refused
        ]
        if reason := found.broken or self._ended_early(found):
            missing.append(NotCollected(_named(within, name), reason, kept=True))
        return missing

    def _ended_early(self, found: safe_tar.Unpacked) -> str:
        """Podman ends an archive, as if it were whole, at the first path that is too long for it."""
        if len(found.last_folder) > _LONG_PATH and self._engine.features.is_podman:
            return "it has a path that is too long for Podman, which gave nothing after it"
        return ""

    def more(self, wanted: Sequence[Parts]) -> list[NotCollected]:
        """Copy these paths of the copy of the project; for a path through a link, only the link."""
        missing = []
        for parts in wanted:
            links = (end for end in range(1, len(parts)) if self._is_link(parts[:end]))
            reached = next(links, len(parts))
            into = self._into.joinpath(*map(os.fsdecode, parts[: reached - 1]))
            missing += self.folder(f"{self._copy}/{beneath.text_of(parts[:reached])}", into)
        return missing

    def _is_link(self, parts: Parts) -> bool:
        path = f"{self._copy}/{beneath.text_of(parts)}"
        try:
            return archives.is_link(self._engine, self._container, path)
        except EngineAnswerError as error:
            if error.status in _NOT_THERE:
                return False
            raise


def _named(within: str, path: str) -> str:
    # Outside the copy are only uploads of the metric logger, to the run's own `outputs/`.
    return path if not within or within.startswith("/") else f"{within}/{path}"
