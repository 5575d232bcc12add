"""What goes into a container before it starts, and comes out of it after it has ended."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError
from amlexec.files import walk
from amlexec.model import NotCollected
from amlexec.runtime import SITE
from amlexec.targets import beneath, safe_tar
from amlexec.targets.tar_reader import FILE, NotTarError, TarReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.docker.client import Engine
    from amlexec.docker.streams import Archive
    from amlexec.targets.beneath import Parts

__all__ = ["SITE", "Brought", "add_user", "give", "pack", "save_logs", "user_name"]

_IN_MEMORY = 16 << 20
"""Bytes of an archive that stay in memory; larger ones go through a temporary file."""
_NOT_THERE = (400, 404)
"""What an engine answers where there is no such file, or where a file is on the way."""
_LIST = 1 << 20
"""Bytes of a list of users or groups."""


def user_name(uid: int) -> str:
    """The name of a user on this machine; `user` where the number has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "user"


def give(folder: Path, uid: int, gid: int) -> None:
    """Make a folder and all in it a user's."""
    for found in walk(folder):
        os.fchown(found.descriptor, uid, gid)
        for entry in found.others:
            os.chown(entry.name, uid, gid, dir_fd=found.descriptor, follow_symlinks=False)


def add_user(engine: Engine, container: str, uid: int, gid: int, user: str, home: str) -> None:
    """Give a user of any number a name and a home in a container that has not started.

    Programs ask for both: `getpass.getuser()`, `~`, ssh, and git all fail for a number without a name.
    """
    known = {}
    for name in ("passwd", "group"):
        try:
            with containers.get_archive(engine, container, f"/etc/{name}") as stream:
                known[name] = _content(stream)
        except EngineAnswerError as error:
            if error.status != 404:
                raise
            known[name] = b""
    lines = {"passwd": f"{user}:x:{uid}:{gid}:{user}:{home}:/bin/sh\n", "group": f"{user}:x:{gid}:\n"}
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        folder = tarfile.TarInfo(home.lstrip("/"))
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, uid, gid
        archive.addfile(folder)
        for name, line in lines.items():
            # Ours first: an image may have another name for the same number.
            text = line.encode() + known[name]
            entry = tarfile.TarInfo(f"etc/{name}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text))
    containers.put_archive(engine, container, "/", held.getvalue())


def _content(stream: Archive) -> bytes:
    """The content of the one file of an archive; nothing where it is none, or too large for such a file."""
    reader = TarReader(stream.read)
    try:
        for entry in reader:
            return b"".join(reader.content()) if entry.kind == FILE and entry.size <= _LIST else b""
    except NotTarError:
        pass  # a strange image, whose users are of no interest then
    return b""


def pack(engine: Engine, container: str, folder: Path, into: str, uid: int, gid: int) -> None:
    """Copy a folder of this machine to `into` in a container that has not started, for a user there."""

    def own(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid, entry.gid, entry.uname, entry.gname = uid, gid, "", ""
        return entry

    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as held:
        with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(folder, into.lstrip("/"), filter=own)
        held.seek(0)
        containers.put_archive(engine, container, "/", held)


class Brought:
    """Brings files of a container that has ended into folders here."""

    def __init__(
        self, engine: Engine, container: str, copy: str, into: Path, owner: tuple[int, int] | None
    ) -> None:
        """`copy` is the path there of the copy of the project, and `into` the folder here that stands for it.

        For root here, files become those of `owner`.
        """
        self._engine, self._container, self._copy = engine, container, copy
        self._into, self._owner = into, owner

    def folder(self, path: str, into: Path) -> list[NotCollected]:
        """Bring the file or folder `path`, if it is there, into the folder `into`; what did not come."""
        into.mkdir(parents=True, exist_ok=True)
        try:
            stream = containers.get_archive(self._engine, self._container, path)
        except EngineAnswerError as error:
            if error.status in _NOT_THERE:
                return []
            raise
        with stream:
            found = safe_tar.unpack(stream.read, into, owner=self._owner, outward_links=True)
        within, _, name = path.removeprefix(f"{self._copy}/").rpartition("/")
        missing = [
            NotCollected(_named(within, one.path), one.reason, kept=not one.holds_nothing)
            for one in found.refused
        ]
        if found.broken:
            missing.append(NotCollected(_named(within, name), found.broken, kept=True))
        return missing

    def more(self, wanted: Sequence[Parts]) -> list[NotCollected]:
        """Bring these paths of the copy of the project; in place of what is behind a link, that link."""
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
            return containers.is_link(self._engine, self._container, path)
        except EngineAnswerError as error:
            if error.status in _NOT_THERE:
                return False
            raise


def _named(within: str, path: str) -> str:
    # What is outside the copy is what the metric logger was given: `outputs/` of the run itself.
    return path if not within or within.startswith("/") else f"{within}/{path}"


def save_logs(engine: Engine, container: str, stdout: Path, stderr: Path) -> None:
    """Write both logs of a container, whole, each put where it belongs by rename."""
    # Not `files.write_atomically`: they may be larger than memory, and what is half-written is written anew.
    beside = {path: path.with_name(f".{path.name}.new") for path in (stdout, stderr)}
    for new in beside.values():
        new.unlink(missing_ok=True)  # of one that was killed
    logs = containers.logs(engine, container)
    with logs as output, beside[stdout].open("xb") as out, beside[stderr].open("xb") as err:
        for frame in output:
            (out if frame.stream == containers.STDOUT else err).write(frame.data)
    for path, new in beside.items():
        new.replace(path)
