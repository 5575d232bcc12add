"""Which files of a project belong in a snapshot, and which of them changed: git says so.

File names are bytes here, as they are on the disk and for git.
"""
# pathlib has no names of bytes, and costs too much for each of many files:
# ruff: noqa: PTH

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec import git
from amlexec.errors import TargetError
from amlexec.snapshot_report import some

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Sequence

    from amlexec.snapshot_store import Store

__all__ = ["ChangedMeanwhile", "Work", "begin", "list_changes", "special_files"]

_PLACEHOLDER = b".amlexec-placeholder"


class ChangedMeanwhile(Exception):  # noqa: N818 (no error unless it happens again and again)
    """A file changed while the snapshot was taken; `args[0]` is what git said of it."""


class Work(NamedTuple):
    """One snapshot being taken: the store, the project's root, and which rules hold."""

    store: Store
    root: str
    top: str
    """The folder whose ignore files are the first that count: the root, or one above it."""
    rule_file: str

    @property
    def prefix(self) -> str:
        """From the top to the root: "", or a path that ends with `/`."""
        return "" if self.top == self.root else os.path.relpath(self.root, self.top) + "/"

    @property
    def signature(self) -> str:
        """What an index depends on, beside the files."""
        return f"{self.rule_file}:{self.prefix}"

    @property
    def rules(self) -> list[str]:
        """The ignore rules as options of `git ls-files`."""
        anchor = re.sub(r"([*?\[\\])", r"\\\1", f"/{self.prefix}")
        return [
            f"--exclude-per-directory={self.rule_file}",
            "--exclude=.amlexec",
            f"--exclude={anchor}outputs",
        ]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return git.start(
            arguments,
            folder=self.root,
            environment=self.store.environment(self.top),
            inherit=(self.store.lock,),
        )

    def git(self, *arguments: str, names: Iterable[bytes] = ()) -> git.Output:
        return git.finish(self.start(*arguments), b"".join(name + b"\0" for name in names))


def begin(store: Store, root: str) -> Work:
    own = f"{root}/.amlignore"
    if os.path.lexists(own) and not os.path.isdir(own):
        return Work(store, root, root, ".amlignore")
    top = git.top_level(root) or root
    work = Work(store, root, top, ".gitignore")
    above = [top]
    for name in work.prefix.split("/")[:-2]:
        above.append(f"{above[-1]}/{name}")
    if top == root or not any(os.path.lexists(f"{folder}/.gitignore") for folder in above):
        return work._replace(top=root)
    asked = git.start(
        ["check-ignore", "--no-index", "--stdin", "-z"], folder=top, environment=store.environment(top)
    )
    try:
        git.finish(asked, os.fsencode(work.prefix.rstrip("/")))
    except git.GitError as error:
        if error.code == 1:  # nothing in it is ignored
            return work
        raise
    return work._replace(top=root)


def list_changes(work: Work) -> tuple[list[bytes], list[bytes], list[str]]:
    """What differs from the index: paths to add or remove, paths that are now ignored, notes of git."""
    find = ["ls-files", "-z", "-t", "--others", "--modified", "--deleted", *work.rules]
    listing = work.start(*find)
    excluded = work.start("ls-files", "-z", "--cached", "--ignored", *work.rules)
    try:
        ignored = git.finish(excluded).stdout.split(b"\0")[:-1]
    finally:
        found = git.finish(listing)
    while nested := [
        line[2:] for line in found.stdout.split(b"\0") if line.endswith(b"/") and _has_files(work, line[2:])
    ]:
        # A repository in the project: git does not look inside, unless its index has a file in there.
        path = os.fsencode(work.prefix)
        placeholder = b"100644 " + b"1" * (2 * work.store.id_size) + b" 0\t" + path + b"%b" + _PLACEHOLDER
        work.git("update-index", "-z", "--index-info", names=[placeholder % name for name in nested])
        found = work.git(*find)
    _check_notes(found.notes)
    gone = set(ignored)
    names = {line[2:]: None for line in found.stdout.split(b"\0")[:-1] if not line.endswith(b"/")}
    return [name for name in names if name not in gone], ignored, list(found.notes)


def _has_files(work: Work, name: bytes) -> bool:
    with os.scandir(os.path.join(os.fsencode(work.root), name)) as entries:
        return any(entry.name != b".git" for entry in entries)


def _check_notes(notes: Sequence[str]) -> None:
    """git goes on where it can't read a folder or an ignore file; a snapshot must not."""
    for note in notes:
        if note.endswith("No such file or directory"):
            raise ChangedMeanwhile(note)
        if note.endswith(("Permission denied", "Input/output error")):
            raise TargetError(
                f"the snapshot failed: {note.removeprefix('warning: ')}",
                hint="make it readable, or list it in .amlignore (.gitignore where there is none)",
            )


def special_files(work: Work, folders: Iterable[str]) -> list[str]:
    """A warning for sockets, FIFOs and devices beside the snapshot's files: git passes over them."""
    names: list[str] = []
    for folder in folders:
        try:
            with os.scandir(f"{work.root}/{folder}") as entries:
                names += [posixpath.join(folder, entry.name) for entry in entries if _is_special(entry)]
        except OSError:
            continue  # gone meanwhile
    if not names:
        return []
    kept = sorted(set(names) - _ignored(work, names))
    return [f"neither a file nor a folder, left out of the snapshot: {some(kept)}"] if kept else []


def _is_special(entry: os.DirEntry[str]) -> bool:
    return not (
        entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()
    )


def _ignored(work: Work, names: Iterable[str]) -> set[str]:
    """Which of these names the rules ignore, for files that git itself never lists."""
    index = f"{work.store.folder}/special.index"
    environment = work.store.environment(work.top, index)
    entry = b"100644 " + b"1" * (2 * work.store.id_size) + b" 0\t" + os.fsencode(work.prefix)
    lines = b"".join(entry + os.fsencode(name) + b"\0" for name in names)
    try:
        git.git(
            ["update-index", "-z", "--index-info"], folder=work.root, environment=environment, input=lines
        )
        listed = git.git(
            ["ls-files", "-z", "--cached", "--ignored", *work.rules],
            folder=work.root,
            environment=environment,
        )
    finally:
        if os.path.exists(index):
            os.unlink(index)
    return {os.fsdecode(name) for name in listed.split(b"\0")[:-1]}
