"""Send a snapshot to a machine that may have an earlier one: only the difference, as one tar stream.

Both trees are in the snapshots' repository, so git finds the difference without reading the project. Names
may contain every byte but NUL.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import threading
import zlib
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from amlexec import git
from amlexec.errors import TargetError
from amlexec.snapshots import store as snapshot_store
from amlexec.tar import Head, add_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.snapshots.store import Store
    from amlexec.values import Project

__all__ = ["Difference", "add_files", "difference", "pack"]

_LINK = 0o120000
_PROGRAM = 0o100755
_LARGE = 8 << 20
"""Bytes."""
_PIECE = 1 << 16
_HEADER = 64
"""Bytes: "blob", the size and a NUL are shorter."""


class Readable(Protocol):
    """A stream that can be read piece by piece."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""


class SentEntry(NamedTuple):
    """A file of the new tree."""

    name: bytes
    mode: int
    blob: str


class Difference(NamedTuple):
    """The difference between two snapshots."""

    gone: tuple[bytes, ...]
    """Names to remove first, including those that change between file and folder."""
    sent: tuple[SentEntry, ...]


def difference(project: Project, old: str, new: str) -> Difference | None:
    """The difference from the snapshot `old` ("" for an empty folder) to `new`; None if `old` is not here.

    Raises:
        TargetError: the repository does not have `new`.
    """
    if old == new:
        return Difference((), ())
    with snapshot_store.opened(project) as store:
        variables = store.environment(project.root)
        try:
            base = old or _empty(project, store)
            output = git.git(
                ["diff-tree", "-r", "-z", "--no-renames", "--no-abbrev", base, new],
                folder=project.root,
                environment=variables,
            )
        except git.GitError:
            if not old:
                raise
            return None
    fields = output.split(b"\0")[:-1]
    gone, sent = [], []
    for head, name in zip(fields[::2], fields[1::2], strict=True):
        old_mode, mode, _, blob, kind = head[1:].split(b" ")
        if kind == b"D" or (kind == b"T" and old_mode != mode):
            gone.append(name)
        if kind != b"D":
            sent.append(SentEntry(name, int(mode, 8), blob.decode()))
    return Difference(tuple(gone), tuple(sent))


def _empty(project: Project, store: Store) -> str:
    """The id of the empty tree, which every repository knows."""
    process = git.start(
        ["hash-object", "-t", "tree", "--stdin"],
        folder=project.root,
        environment=store.environment(project.root),
    )
    return git.finish(process, b"").stdout.decode().strip()


def pack(
    project: Project, entries: tuple[SentEntry, ...], gone: tuple[bytes, ...], archive: tarfile.TarFile
) -> None:
    """Add these files to an archive, below the folder `tree`, and `gone.sh`, which removes `gone`.

    Files are streamed: memory use does not grow with their size.
    """
    script = b"".join(b"rm -f -- %b\n" % _quoted(name) for name in gone)
    member = tarfile.TarInfo("gone.sh")
    member.size, member.mode = len(script), 0o600
    archive.addfile(member, io.BytesIO(script))
    add_files(project, entries, "tree", archive)


def add_files(
    project: Project,
    entries: tuple[SentEntry, ...],
    below: str,
    archive: tarfile.TarFile,
    modified: int = 0,
) -> None:
    """Add these files of a snapshot to an archive, below a folder; `modified` is the time of each."""
    heads = {mode: Head(mode, modified) for mode in (0o600, 0o700)}
    prefix = os.fsencode(below) + b"/"
    for entry, content in _contents(project, entries):
        name = prefix + entry.name
        mode = 0o700 if entry.mode == _PROGRAM else 0o600
        is_plain = entry.mode != _LINK and archive.format == tarfile.GNU_FORMAT
        if is_plain and heads[mode].fits(name, content.left):
            add_plain(archive, heads[mode].of(name, content.left), content)
            continue
        member = tarfile.TarInfo(os.fsdecode(name))
        member.mtime = modified
        if entry.mode == _LINK:
            member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(content.read())
            archive.addfile(member)
        else:
            member.size, member.mode = content.left, mode
            archive.addfile(member, content)


def _quoted(name: bytes) -> bytes:
    """A name as one word for a shell; with `./` in front, `rm` can't take it for an option."""
    return b"'./" + name.replace(b"'", b"'\\''") + b"'"


class _Content:
    """The content of a file in the snapshot, to be read once."""

    def __init__(self, stream: Readable, size: int) -> None:
        self._stream = stream
        self.left = size
        """Bytes that were not read yet."""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, or all the rest."""
        part = self._stream.read(self.left if size < 0 else min(size, self.left))
        if not part and self.left:
            raise TargetError("the snapshots' repository is damaged: a file of the snapshot is truncated")
        self.left -= len(part)
        return part


class _Loose:
    """The content of a loose object of git, which begins with a header."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflated = zlib.decompressobj()
        head = self._part(_HEADER)
        self.size = int(head.partition(b"\0")[0].removeprefix(b"blob "))
        self._rest = head.partition(b"\0")[2]

    def read(self, size: int) -> bytes:
        """At most `size` bytes; b"" at the end."""
        part, self._rest = self._rest[:size], self._rest[size:]
        return part + self._part(size - len(part)) if len(part) < size else part

    def _part(self, size: int) -> bytes:
        part = b""
        try:
            while len(part) < size and not self._inflated.eof:
                deflated = self._inflated.unconsumed_tail or self._file.read(_PIECE)
                if not deflated:
                    break
                part += self._inflated.decompress(deflated, size - len(part))
        except zlib.error as error:
            raise TargetError(f"the snapshots' repository is damaged: {error}") from None
        return part


def _contents(project: Project, entries: tuple[SentEntry, ...]) -> Iterator[tuple[SentEntry, _Content]]:
    if not entries:
        return
    with snapshot_store.opened(project) as store:
        variables = store.environment(project.root)
        objects = f"{store.folder}/objects"
    large = [_is_large(f"{objects}/{entry.blob[:2]}/{entry.blob[2:]}") for entry in entries]
    asked = (entry.blob for entry, is_large in zip(entries, large, strict=True) if not is_large)
    # With these settings git, too, streams large packed files.
    settings = [f"core.bigFileThreshold={_LARGE}", "core.packedGitWindowSize=1m", "core.packedGitLimit=16m"]
    command = [word for setting in settings for word in ("-c", setting)]
    process = git.start(
        [*command, "cat-file", "--batch", "--buffer"], folder=project.root, environment=variables
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # All at once: to ask for one file after the other takes as long as to read them.
    text = "".join(f"{blob}\n" for blob in asked).encode()
    asking = threading.Thread(target=_ask, args=[process.stdin, text], daemon=True)
    asking.start()
    try:
        for entry, is_large in zip(entries, large, strict=True):
            if is_large:
                # git would load all of it into memory.
                with open(f"{objects}/{entry.blob[:2]}/{entry.blob[2:]}", "rb") as file:  # noqa: PTH123
                    loose = _Loose(file)
                    yield entry, _Content(loose, loose.size)
                continue
            answer = process.stdout.readline().split()
            if answer[1:2] != [b"blob"]:
                name = os.fsdecode(entry.name)
                raise TargetError(f"the snapshots' repository is damaged: {name} is missing")
            content = _Content(process.stdout, int(answer[2]))
            yield entry, content
            while content.left:
                content.read(_LARGE)
            process.stdout.read(1)
    finally:
        process.stdout.close()
        process.terminate()  # it may still be asked
        asking.join()
        with contextlib.suppress(OSError):  # it did not read all
            process.stdin.close()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _ask(pipe: IO[bytes], text: bytes) -> None:
    with contextlib.suppress(OSError):  # it has ended, and the reader says why
        pipe.write(text)
        pipe.close()


def _is_large(path: str) -> bool:
    """Whether there is a large loose object; small ones and packed ones are read by git."""
    try:
        return os.stat(path).st_size > _LARGE  # noqa: PTH116 - of many files
    except OSError:
        return False
