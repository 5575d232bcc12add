"""A registry in a folder of a machine over SSH: ssh://[USER@]HOST[:PORT]/PATH, or ssh://TARGET/PATH."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from amlexec.errors import TargetError, UsageError
from amlexec.models import cache
from amlexec.models.store import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.models.content import Content, File
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import Project

__all__ = ["SSHStore"]

_MISSING, _EXISTS, _DIFFERS = 44, 45, 46
"""Exit codes of `registry.sh`."""
_COPY_TIMEOUT_S = 24 * 3600.0
"""For the files of a model."""
_MOST = 1 << 30
"""Bytes of all records of a registry."""


class SSHStore:
    """The files of a registry on another machine."""

    def __init__(self, url: str, project: Project | None) -> None:
        """Opens no connection. Raises UsageError or ConfigurationError: the URL can't be used."""
        self._url = url
        self._root = _root_of(url)
        self._connection = _connection(url, project)

    @property
    def place(self) -> str:
        """Its URL."""
        return self._url

    def entries(self, folder: str) -> list[str]:
        """The names in a folder, sorted, without unfinished ones."""
        _, out = self._run("entries", folder, allowed=(_MISSING,))
        return sorted(name for name in out.splitlines() if name and name[0] != ".")

    def tree(self, folder: str) -> dict[str, bytes | OSError]:
        """All files below a folder by relative path. Nothing is unpacked to the disk."""
        found: dict[str, bytes | OSError] = {}
        left = _MOST
        with self._connection.stream(_SCRIPT + '\ntree "$@"', self._root, folder) as channel:
            try:
                with tarfile.open(fileobj=channel.stdout, mode="r|") as archive:
                    for entry in archive:
                        name = entry.name.removeprefix("./")
                        if entry.isdir() or name.rpartition("/")[2].startswith("."):
                            continue
                        left -= entry.size
                        if not entry.isfile():
                            found[name] = OSError("It is not a file")
                        elif entry.size > LARGEST or left < 0:
                            found[name] = OSError(f"It is larger than {LARGEST >> 20} MB")
                        else:
                            opened = archive.extractfile(entry)
                            assert opened is not None
                            found[name] = opened.read()
            except (tarfile.TarError, EOFError):
                if channel.wait() not in {0, _MISSING}:
                    raise self._error(channel.stderr) from None
                return found
            channel.stdout.read()
            if channel.wait() not in {0, _MISSING}:
                raise self._error(channel.stderr)
        return found

    def read(self, name: str) -> bytes | None:
        """A file; None if it does not exist."""
        with self._connection.stream(_SCRIPT + '\ncopy "$@"', self._root, name) as channel:
            content = channel.stdout.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise TargetError(f"it is larger than {LARGEST >> 20} MB", where=f"{self._url}/{name}")
            code = channel.wait()
            if code not in {0, _MISSING}:
                raise self._error(channel.stderr)
        return content if code == 0 else None

    def create(self, name: str, content: bytes) -> bool:
        """Make a file unless it exists; whether it was made."""
        code, _ = self._run("take", name, str(len(content)), given=content, allowed=(_EXISTS,))
        return code == 0

    def replace(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        self._run("put", name, str(len(content)), given=content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._run("drop", name, allowed=(_MISSING,))

    def put(self, content: Content, source: Path) -> None:
        """Store the files of a model; the machine compares them with their digests."""
        with tempfile.TemporaryFile() as archive:
            _pack(content, source.resolve(), archive)
            archive.seek(0)
            code, _ = self._run(
                "receive", content.digest, given=archive, timeout=_COPY_TIMEOUT_S, allowed=(_DIFFERS,)
            )
        if code == _DIFFERS:
            raise TargetError(
                "a file has changed while it was registered, or the machine has no sha256sum",
                where=str(source),
                hint="register it once more",
            )

    def holds(self, content: Content) -> bool:
        """Whether the folder of the files exists: it appears whole."""
        code, _ = self._run("holds", f"contents/{content.digest}", allowed=(_MISSING,))
        return code == 0

    def fetched(self, content: Content) -> Path:
        """A folder of the cache with the files, compared with their digests."""
        expected = {file.path: file for file in content.files}

        def fill(folder: Path) -> None:
            with self._connection.stream(_SCRIPT + '\nsend "$@"', self._root, content.digest) as channel:
                try:
                    with tarfile.open(fileobj=channel.stdout, mode="r|") as archive:
                        for entry in archive:
                            file = expected.pop(entry.name.removeprefix("./"), None)
                            opened = archive.extractfile(entry) if file and entry.isfile() else None
                            if file is not None and opened is not None:
                                cache.write(opened, folder, file)
                except (tarfile.TarError, EOFError):
                    pass  # what is missing is seen by its digest
                else:
                    channel.stdout.read()
                if channel.wait() not in {0, _MISSING}:
                    raise self._error(channel.stderr)

        return cache.filled(content, f"{self._url}/contents/{content.digest}", fill)

    def drop(self, digest: str, is_needed: Callable[[], bool]) -> None:
        """Remove the files of a model, unless they are needed; see `FolderStore.drop`."""
        mark = os.urandom(8).hex()
        if is_needed() or self._run("aside", digest, mark, allowed=(_MISSING,))[0] == _MISSING:
            return
        if is_needed():
            self._run("back", digest, mark)
        else:
            self._run("gone", mark)

    def _run(
        self,
        verb: str,
        *arguments: str,
        given: bytes | IO[bytes] | None = None,
        timeout: float = 120.0,
        allowed: tuple[int, ...] = (),
    ) -> tuple[int, str]:
        answer = self._connection.run(
            f'{_SCRIPT}\n{verb} "$@"', self._root, *arguments, input=given, timeout=timeout
        )
        if answer.exit_code not in {0, *allowed}:
            raise self._error(answer.stderr)
        return answer.exit_code, answer.stdout

    def _error(self, stderr: str) -> TargetError:
        lines = stderr.strip().splitlines() or ["no reason is given"]
        return TargetError(f"the model registry can't be used: {lines[-1][:300]}", where=self._url)


_SCRIPT = (Path(__file__).parent / "registry.sh").read_text("utf-8")


def _pack(content: Content, source: Path, archive: IO[bytes]) -> None:
    """The archive for `receive`."""
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as packed:
        sums = "".join(_sum_line(file) for file in content.files).encode()
        entry = tarfile.TarInfo("sums")
        entry.size = len(sums)
        packed.addfile(entry, io.BytesIO(sums))
        for file in content.files:
            inner = file.path.partition("/")[2]
            path = source / inner if inner else source
            entry = tarfile.TarInfo(f"files/{file.path}")
            with path.open("rb") as opened:
                entry.size = os.fstat(opened.fileno()).st_size
                entry.mode = 0o755 if file.executable else 0o644
                packed.addfile(entry, opened)


def _sum_line(file: File) -> str:
    """A line for sha256sum, which escapes backslashes in names."""
    if "\\" in file.path:
        escaped = file.path.replace("\\", "\\\\")
        return f"\\{file.sha256}  {escaped}\n"
    return f"{file.sha256}  {file.path}\n"


def _root_of(url: str) -> str:
    path = unquote(urlsplit(url).path)
    if path.startswith("/~/"):
        path = path[1:]
    if len(path) < 2 or "\0" in path:
        raise UsageError(f"{url!r} names no folder", hint="ssh://HOST/PATH, or ssh://HOST/~/PATH of the home")
    return path.rstrip("/")


def _connection(url: str, project: Project | None) -> SSHConnection:
    from amlexec import kinds
    from amlexec.config import load as config
    from amlexec.keystore import store as keystore
    from amlexec.ssh.connection import SSHConnection
    from amlexec.ssh.login import Login, is_user, login_of, split_address

    parts = urlsplit(url)
    if parts.password is not None:
        raise UsageError(
            "the URL of the registry has a password in it, which other users of this machine can see",
            hint="attach the machine, and write its target's name as the host: ssh://NAME/PATH",
        )
    name = parts.netloc
    if project is not None and name in config.compute_targets(project):
        target = config.load_target(project, name)
        if kinds.of(target.kind).over_ssh:
            return SSHConnection(login_of(target))
    user, _, address = parts.netloc.rpartition("@")
    host, port = split_address(address, url)
    if user and not is_user(user):
        raise UsageError(f"{user!r} is not a valid user name", where=url)
    login = Login(alias=name, host=host, user=user, port=port)
    pinned = keystore.pinned_hosts(login.address)
    return SSHConnection(login._replace(known_hosts=str(pinned) if pinned.exists() else ""))
