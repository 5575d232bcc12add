"""Which files of a project belong in a snapshot, and which of them changed: git says so.

File names are bytes here, as they are on the disk and for git.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import git
from amlexec.errors import TargetError
from amlexec.snapshots.warnings import some

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Sequence

    from amlexec.git import GitOutput
    from amlexec.snapshots.store import Store

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
        """Start git on the project with the store's index."""
        return git.start(
            arguments,
            folder=self.root,
            environment=self.store.environment(self.top),
            inherit=(self.store.lock,),
        )

    def git(self, *arguments: str, names: Iterable[bytes] = ()) -> GitOutput:
        """Run git on these names, which it reads from stdin."""
        return git.finish(
            self.start(*arguments), b"".join(name + b"\0" for name in names), self.must_have_rules
        )

    def must_have_rules(self) -> None:
        """Raise GitError where something of an ignore file's name is none."""
        git.must_be_files(self.top, self.rule_file)

    def update(self, *arguments: str, names: Iterable[bytes]) -> GitOutput:
        """Run `git update-index`; how far the index can be trusted stays as it was."""
        store = self.store
        seconds = store.trusted()
        with store.writing():
            output = self.git("update-index", "-z", *arguments, names=names)
            store.trust_index(seconds)
        return output


def begin(store: Store, root: str) -> Work:
    """Find out which ignore rules hold for the project."""
    own = Path(root, ".amlignore")
    if own.is_symlink() or own.is_file():
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
    """What differs from the index: paths to add or update, paths to take out of it, notes of git."""
    find = ["ls-files", "-z", "-t", "--others", "--modified", "--deleted", *work.rules]
    listing = work.start(*find)
    excluded = work.start("ls-files", "-z", "--cached", "--ignored", *work.rules)
    try:
        ignored = git.finish(excluded, waiting=work.must_have_rules).stdout.split(b"\0")[:-1]
    finally:
        found = git.finish(listing, waiting=work.must_have_rules)
    opened: set[bytes] = set()
    while nested := _nested(work, found.stdout) - opened:
        # A repository in the project: git does not look inside, unless its index has a file in there.
        path = os.fsencode(work.prefix)
        placeholder = b"100644 " + b"1" * (2 * work.store.id_size) + b" 0\t" + path + b"%b" + _PLACEHOLDER
        work.update("--index-info", names=[placeholder % name for name in nested])
        opened |= nested
        found = work.git(*find)
    _check_notes(found.notes)
    lines = [line for line in found.stdout.split(b"\0")[:-1] if not line.endswith(b"/")]
    gone = set(ignored) | _displaced(work, {line[2:] for line in lines if not line.startswith(b"?")})
    names = dict.fromkeys(line[2:] for line in lines)
    notes = [note.removeprefix("warning: ") for note in found.notes]
    return [name for name in names if name not in gone], sorted(gone), notes


def _displaced(work: Work, names: Iterable[bytes]) -> set[bytes]:
    """Files of the index that a folder, or a link above them, has taken the place of.

    git update-index takes them neither for removed nor for changed, but for a mistake.
    """
    linked: dict[str, bool] = {"": False}

    def beyond_link(folder: str) -> bool:
        if folder not in linked:
            linked[folder] = beyond_link(posixpath.dirname(folder)) or Path(work.root, folder).is_symlink()
        return linked[folder]

    def is_folder(name: str) -> bool:
        path = Path(work.root, name)
        return path.is_dir() and not path.is_symlink()

    decoded = ((name, os.fsdecode(name)) for name in names)
    return {name for name, text in decoded if beyond_link(posixpath.dirname(text)) or is_folder(text)}


def _nested(work: Work, listed: bytes) -> set[bytes]:
    """The repositories among the files that git lists, as far as there is anything in them."""
    found = set()
    for name in (line[2:] for line in listed.split(b"\0") if line.endswith(b"/")):
        try:
            with os.scandir(os.fsencode(work.root) + b"/" + name) as entries:
                if any(entry.name != b".git" for entry in entries):
                    found.add(name)
        except OSError as error:
            raise ChangedMeanwhile(f"{os.fsdecode(name)}: {error.strerror}") from error
    return found


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
    """A warning about sockets, FIFOs and devices beside the snapshot's files: git passes over them."""
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
    index = work.store.folder / "special.index"
    environment = work.store.environment(work.top, str(index))
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
        index.unlink(missing_ok=True)
    return {os.fsdecode(name) for name in listed.split(b"\0")[:-1]}
