"""Sending a snapshot to a machine that may have an earlier one: what differs, as one tar stream.

Both trees are in the snapshots' repository, so git says what differs without looking at any file. Names may
hold every byte but NUL.
"""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from amlexec import git
from amlexec.snapshots import snapshot_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.model import Project
    from amlexec.snapshots.snapshot_store import Store

__all__ = ["Difference", "difference", "pack"]

_LINK = 0o120000
_PROGRAM = 0o100755


class Entry(NamedTuple):
    """A file of the new tree."""

    name: bytes
    mode: int
    blob: str


class Difference(NamedTuple):
    """What turns one snapshot into another."""

    gone: tuple[bytes, ...]
    """Names that are to be removed first, also those that change between file and folder."""
    sent: tuple[Entry, ...]


def difference(project: Project, old: str, new: str) -> Difference | None:
    """What turns the snapshot `old` ("" for an empty folder) into `new`; None where `old` isn't known here.

    Raises:
        TargetError: `new` isn't known here.
    """
    with snapshot_store.opened(project) as store:
        variables = store.environment(project.root)
        try:
            base = old or _empty(project, store)
            said = git.git(
                ["diff-tree", "-r", "-z", "--no-renames", "--no-abbrev", base, new],
                folder=project.root,
                environment=variables,
            )
        except git.GitError:
            if not old:
                raise
            return None
    fields = said.split(b"\0")[:-1]
    gone, sent = [], []
    for head, name in zip(fields[::2], fields[1::2], strict=True):
        old_mode, mode, _, blob, kind = head[1:].split(b" ")
        if kind == b"D" or (kind == b"T" and old_mode != mode):
            gone.append(name)
        if kind != b"D":
            sent.append(Entry(name, int(mode, 8), blob.decode()))
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
    project: Project, entries: tuple[Entry, ...], gone: tuple[bytes, ...], archive: tarfile.TarFile
) -> None:
    """Add these files to an archive, below the folder `tree`, and `gone.sh`, which removes `gone`."""
    script = b"".join(b"rm -f -- %b\n" % _quoted(name) for name in gone)
    _add(archive, "gone.sh", 0o600, script)
    for entry, content in _contents(project, entries):
        name = f"tree/{os.fsdecode(entry.name)}"
        if entry.mode == _LINK:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(content)
            archive.addfile(member)
        else:
            _add(archive, name, 0o700 if entry.mode == _PROGRAM else 0o600, content)


def _add(archive: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def _quoted(name: bytes) -> bytes:
    """A name as one word of a shell, whatever is in it; no option of `rm` begins with `./`."""
    return b"'./" + name.replace(b"'", b"'\\''") + b"'"


def _contents(project: Project, entries: tuple[Entry, ...]) -> Iterator[tuple[Entry, bytes]]:
    if not entries:
        return
    with snapshot_store.opened(project) as store:
        variables = store.environment(project.root)
    process = git.start(["cat-file", "--batch"], folder=project.root, environment=variables)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for entry in entries:
            process.stdin.write(f"{entry.blob}\n".encode())
            process.stdin.flush()
            size = int(process.stdout.readline().split()[2])
            content = process.stdout.read(size)
            process.stdout.read(1)
            yield entry, content
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
