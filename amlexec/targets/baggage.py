"""What goes into a container before it starts, and comes out of it after it has ended."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.docker import containers
from amlexec.docker.engine import EngineAnswerError
from amlexec.files import walk
from amlexec.runtime import SITE
from amlexec.targets.unpacking import extract

if TYPE_CHECKING:
    from amlexec.docker.engine import Engine

__all__ = ["SITE", "add_user", "give", "pack", "save_logs", "unpack", "user_name"]

_IN_MEMORY = 16 << 20
"""Bytes of an archive that stay in memory; larger ones go through a temporary file."""


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
                held = io.BytesIO(stream.read())
            with tarfile.open(fileobj=held) as archive:
                member = archive.extractfile(name)
                known[name] = member.read() if member else b""
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


def unpack(
    engine: Engine, container: str, path: str, into: Path, name: str = "", *, ours: bool = False
) -> None:
    """Copy a folder of a container, if it is there, into the folder `into`, under its own name or `name`.

    With `ours`, everything becomes the caller's: the users of the engine's machine are not those of this one.
    """
    into.mkdir(exist_ok=True)
    last = path.rpartition("/")[2]
    try:
        stream = containers.get_archive(engine, container, path)
    except EngineAnswerError as error:
        if error.status == 404:
            return
        raise
    with stream, tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
        for entry in archive:
            if entry.name.split("/")[0] == last and name:
                entry.name = name + entry.name[len(last) :]
            if entry.islnk() and name:
                entry.linkname = name + entry.linkname[len(last) :]
            extract(archive, entry, into, ours=ours)


def save_logs(engine: Engine, container: str, stdout: Path, stderr: Path) -> None:
    """Write both logs of a container, whole, each put where it belongs by rename."""
    beside = {path: path.with_name(f".{path.name}.new") for path in (stdout, stderr)}
    for new in beside.values():
        new.unlink(missing_ok=True)  # of one that was killed
    logs = containers.logs(engine, container)
    with logs as output, beside[stdout].open("xb") as out, beside[stderr].open("xb") as err:
        for frame in output:
            (out if frame.stream == containers.STDOUT else err).write(frame.data)
    for path, new in beside.items():
        new.replace(path)
