"""Compare the files of two snapshots."""

from __future__ import annotations

import subprocess
import tempfile
from typing import IO, TYPE_CHECKING, NamedTuple

from amlexec import git
from amlexec.errors import TargetError
from amlexec.snapshots import store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.values import Project

__all__ = ["FileChange", "changes", "diff"]

_CHUNK = 1 << 16
_OPTIONS = ("-r", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
_AS_PATCH = ("-p", "--binary", "--full-index")
_SHA1_DIGITS = 40
_ABSENT = b"000000"
_CHANGES = {"A": "added", "D": "removed", "M": "changed", "T": "changed"}


class FileChange(NamedTuple):
    """A file that differs between two snapshots."""

    path: str
    change: str
    """`added`, `removed` or `changed`."""
    added: int | None
    """Lines; None for a binary file."""
    removed: int | None


def changes(project: Project, before: str, after: str) -> list[FileChange]:
    """The files that differ between two trees, sorted by path.

    Raises:
        TargetError: a tree is no longer in the store, or git can't read it.
    """
    if before == after:
        return []
    process = _start(project, before, after, "--raw", "--numstat", "-z")
    fields = git.finish(process).stdout.decode("utf-8", "surrogateescape").split("\0")
    kinds: dict[str, str] = {}
    found: list[FileChange] = []
    at = 0
    while at < len(fields) - 1:
        if fields[at].startswith(":"):
            kinds[fields[at + 1]] = _CHANGES.get(fields[at].rpartition(" ")[2][:1], "changed")
            at += 2
            continue
        added, removed, path = fields[at].split("\t", 2)
        found.append(FileChange(path, kinds.get(path, "changed"), _count(added), _count(removed)))
        at += 1
    return sorted(found)


def diff(project: Project, before: str, after: str) -> Iterator[bytes]:
    """The difference of two trees in pieces, in the form that `git apply` takes. Raises as `changes` does.

    In a patch of binary files, `git apply` needs the ids that files have in the user's repository, which has
    SHA-1. The store has SHA-256, so the files that differ are first copied into a repository with SHA-1.
    """
    if before == after:
        return
    if len(before) == _SHA1_DIGITS:
        yield from _output(_start(project, before, after, *_AS_PATCH), str(store.folder_of(project)))
        return
    raw = git.finish(_start(project, before, after, "--raw", "-z")).stdout.split(b"\0")
    with tempfile.TemporaryDirectory(prefix="amlexec-diff-") as folder:
        git.git(["init", "-q", "--bare", "--object-format=sha1", "."], folder=folder, environment={})
        _copy(project, folder, raw)
        command = ["diff-tree", *_OPTIONS, *_AS_PATCH, "refs/heads/before", "refs/heads/after"]
        environment = {"GIT_DIR": folder}
        yield from _output(git.start(command, folder=folder, environment=environment), folder)


def _copy(project: Project, folder: str, raw: Sequence[bytes]) -> None:
    """Copy the files of both sides into the repository in `folder`, as two commits."""
    sides: dict[bytes, list[tuple[bytes, bytes, bytes]]] = {b"before": [], b"after": []}
    for entry, path in zip(raw[0:-1:2], raw[1::2], strict=True):
        mode, other_mode, name, other_name, _ = entry[1:].split(b" ")
        for side, its_mode, its_name in ((b"before", mode, name), (b"after", other_mode, other_name)):
            if its_mode != _ABSENT:
                sides[side].append((its_mode, its_name, path))
    reading = git.start(["cat-file", "--batch"], folder=folder, environment=_environment(project))
    writing = git.start(["fast-import", "--quiet", "--force"], folder=folder, environment={"GIT_DIR": folder})
    with reading, writing:
        sink = writing.stdin
        assert sink is not None
        try:
            for side, files in sides.items():
                for number, (_, name, _path) in enumerate(files, 1):
                    sink.write(b"blob\nmark :%d\n" % number)
                    _copy_object(reading, name, sink)
                sink.write(b"commit refs/heads/%s\ncommitter a <a> 0 +0000\ndata 0\n\n" % side)
                for number, (mode, _, path) in enumerate(files, 1):
                    sink.write(b"M %s :%d %s\n" % (mode, number, _quoted(path)))
            sink.close()
        except BrokenPipeError:  # its message says why
            pass
        finally:
            reading.kill()
        assert writing.stderr is not None
        message = writing.stderr.read().decode("utf-8", "backslashreplace").strip()
        if writing.wait():
            raise TargetError(f"git fast-import failed: {message}", where=folder)


def _copy_object(reading: subprocess.Popen[bytes], name: bytes, sink: IO[bytes]) -> None:
    asking, answering = reading.stdin, reading.stdout
    assert asking is not None
    assert answering is not None
    asking.write(name + b"\n")
    asking.flush()
    answer = answering.readline().split()
    if len(answer) != 3:
        raise TargetError(f"a file of the snapshot is missing: {name.decode()}")
    left = int(answer[2])
    sink.write(b"data %d\n" % left)
    while left and (chunk := answering.read(min(left, _CHUNK))):
        sink.write(chunk)
        left -= len(chunk)
    sink.write(b"\n")
    answering.read(1)


def _quoted(path: bytes) -> bytes:
    r"""A path as fast-import takes it: in quotes, with `\` before quotes and as octal numbers."""
    return b'"%s"' % b"".join(
        bytes([sign]) if 32 <= sign < 127 and sign not in b'"\\' else b"\\%03o" % sign for sign in path
    )


def _output(process: subprocess.Popen[bytes], where: str) -> Iterator[bytes]:
    with process:
        reading, errors = process.stdout, process.stderr
        assert reading is not None
        assert errors is not None
        try:
            while chunk := reading.read(_CHUNK):
                yield chunk
            message = errors.read().decode("utf-8", "backslashreplace").strip()
        except BaseException:
            process.kill()
            raise
        if process.wait():
            raise TargetError(f"git diff-tree failed: {message}", where=where)


def _environment(project: Project) -> dict[str, str]:
    # A snapshot is complete on this computer: nothing is fetched.
    folder = str(store.folder_of(project))
    return {"GIT_DIR": folder, "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}


def _start(project: Project, before: str, after: str, *options: str) -> subprocess.Popen[bytes]:
    folder = store.folder_of(project)
    if not folder.is_dir():
        raise TargetError("the project has no snapshots on this computer", where=str(folder))
    environment = _environment(project)
    names = git.start(["cat-file", "--batch-check"], folder=str(folder), environment=environment)
    answers = git.finish(names, f"{before}^{{tree}}\n{after}^{{tree}}\n".encode()).stdout.decode().split("\n")
    for tree, answer in zip((before, after), answers, strict=False):
        if " tree " not in answer:
            raise TargetError(
                f"the snapshot {tree[:12]} is no longer on this computer",
                where=str(folder),
                hint="`amlexec gc` removes the snapshots of removed runs",
            )
    command = ["diff-tree", *_OPTIONS, *options, before, after]
    return git.start(command, folder=str(folder), environment=environment)


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
