"""Files into containers and out of them, as tar archives.

`container` is an id or a name everywhere. Errors are those of `amlexec.docker.errors`.
"""

from __future__ import annotations

import base64
import io
import json
import posixpath
import tarfile
import time
from typing import IO, TYPE_CHECKING, Any

from amlexec.docker.errors import EngineLostError
from amlexec.docker.names import container_name
from amlexec.docker.streams import Archive, must_be_fine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.docker.client import Engine

__all__ = ["get", "is_link", "put"]

_GO_LINK = 1 << 27
"""A symbolic link, in a mode as Go has it."""
_HEAD_TIMEOUT_S = 60.0
_ATTEMPTS = 20
_PAUSE_S = 0.1
_KIND = 156
"""Where the kind of the first entry stands in a tar archive."""


def put(engine: Engine, container: str, folder: str, archive: bytes | IO[bytes] | Iterable[bytes]) -> None:
    """Unpack a tar archive (bytes, a file or an iterable) in a folder of the container, running or not.

    One that is large ends with its end, without padding (`amlexec.tar.Tar`): Podman hangs up there.
    """
    # No limit: the engine is silent while it unpacks.
    with engine.asked(patient=True) as api:
        api.put_archive(container_name(container), folder, archive)


def get(engine: Engine, container: str, path: str) -> Archive:
    """A file, folder or symbolic link of the container as a tar archive of it.

    It is for `tarfile.open(fileobj=…, mode="r|")`.
    """
    for _ in range(_ATTEMPTS):
        with engine.asked(patient=True) as api:
            pieces, told = api.get_archive(container_name(container), path)
        found = Archive(engine.address, pieces)
        start = found.peek(_KIND + 1)
        if not start:
            # Podman has just unmounted the files of a container that has ended: its next answer is whole.
            time.sleep(_PAUSE_S)
            continue
        if told["mode"] & _GO_LINK and start[_KIND:] != tarfile.SYMTYPE and told.get("linkTarget"):
            # Podman follows it, and gives what it leads to.
            found.close()
            return Archive(engine.address, iter([_link(path, str(told["linkTarget"]))]))
        return found
    raise EngineLostError(f"the engine gave nothing of {path}", where=engine.address)


def _link(path: str, target: str) -> bytes:
    """The archive of a symbolic link; within one folder of the root it leads there from where it is."""
    folder, _, name = path.rstrip("/").rpartition("/")
    if folder.split("/")[:2] == target.split("/")[:2]:
        target = posixpath.relpath(target, folder)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
        archive.addfile(entry)
    return written.getvalue()


def is_link(engine: Engine, container: str, path: str) -> bool:
    """Whether a path in a container is a symbolic link. Raises EngineAnswerError where there is none."""
    with engine.asked() as api:
        # docker-py asks only for the whole archive.
        response = api.head(
            f"{api.base_url}/v{api.api_version}/containers/{container_name(container)}/archive",
            params={"path": path},
            timeout=_HEAD_TIMEOUT_S,
        )
        must_be_fine(response, engine.address)
        told: dict[str, Any] = json.loads(
            base64.b64decode(response.headers.get("X-Docker-Container-Path-Stat", ""))
        )
        return bool(told["mode"] & _GO_LINK)
