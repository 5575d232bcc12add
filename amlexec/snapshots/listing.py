"""List the files of a project for a snapshot, and those that changed, by git.

File names are bytes, as on disk and in git.
"""

from __future__ import annotations

import os
import posixpath
import re
from contextlib import contextmanager, suppress

from amlexec import git
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator, Sequence

    from amlexec.git import GitOutput
    from amlexec.snapshots.store import Store

__all__ = ["ChangedMeanwhile", "Listing", "Work", "begin", "list_changes", "listing", "special_files"]

# ruff: noqa: PTH108, PTH112, PTH113, PTH114 - a submission needs no pathlib

_PLACEHOLDER = b".amlexec-placeholder"


class ChangedMeanwhile(Exception):  # noqa: N818 (an error only if it happens repeatedly)
    """A file changed while the snapshot was taken; `args[0]` is git's message."""


class Work(NamedTuple):
    """A snapshot in progress: the store, the project's root, and the ignore rules."""

    store: Store
    root: str
    top: str
    """The topmost folder whose ignore files count: the root, or a folder above it."""
    rule_file: str

    @property
    def prefix(self) -> str:
        """From the top to the root: "", or a path that ends with `/`."""
        return "" if self.top == self.root else os.path.relpath(self.root, self.top) + "/"

    @property
    def signature(self) -> str:
        """What an index depends on, besides the files."""
        return f"{self.rule_file}:{self.prefix}"

    @property
    def rules(self) -> list[str]:
        """The ignore rules as options of `git ls-files`."""
        escaped = re.sub(r"([*?\[\\])", r"\\\1", self.prefix) if self.prefix else ""
        return [
            f"--exclude-per-directory={self.rule_file}",
            "--exclude=.amlexec",
            f"--exclude=/{escaped}outputs",
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
        """Run git with these names on its stdin."""
        return git.finish(
            self.start(*arguments), b"".join(name + b"\0" for name in names), self.must_have_rules
        )

    def must_have_rules(self) -> None:
        """Raise GitError if something with the name of an ignore file is not a file."""
        git.must_be_files(self.top, self.rule_file)

    def update(self, *arguments: str, names: Iterable[bytes]) -> GitOutput:
        """Run `git update-index`, without a change of the index's trusted time."""
        store = self.store
        seconds = store.trusted()
        with store.writing():
            output = self.git("update-index", "-z", *arguments, names=names)
            store.trust_index(seconds)
        return output


def begin(store: Store, root: str) -> Work:
    """Find the ignore rules of the project."""
    own = f"{root}/.amlignore"
    if os.path.islink(own) or os.path.isfile(own):
        return Work(store, root, root, ".amlignore")
    top = git.top_level(root) or root
    work = Work(store, root, top, ".gitignore")
    above = [top]
    for name in work.prefix.split("/")[:-2]:
        above.append(f"{above[-1]}/{name}")
    if top == root or not any(os.path.lexists(f"{folder}/.gitignore") for folder in above):
        return work._replace(top=root)
    process = git.start(
        ["check-ignore", "--no-index", "--stdin", "-z"], folder=top, environment=store.environment(top)
    )
    try:
        git.finish(process, os.fsencode(work.prefix.rstrip("/")))
    except git.GitError as error:
        if error.code == 1:  # nothing in it is ignored
            return work
        raise
    return work._replace(top=root)


class Listing(NamedTuple):
    """Two started gits."""

    changes: subprocess.Popen[bytes]
    """Lists the differences to the index."""
    ignored: subprocess.Popen[bytes]
    """Lists the files of the index that the rules ignore."""


_FIND = ("ls-files", "-z", "-t", "--others", "--modified", "--deleted")


@contextmanager
def listing(work: Work) -> Iterator[Listing]:
    """Let git work during the block, for `list_changes`."""
    with (
        git.abandoned(work.start(*_FIND, *work.rules)) as changes,
        git.abandoned(work.start("ls-files", "-z", "--cached", "--ignored", *work.rules)) as ignored,
    ):
        yield Listing(changes, ignored)


def list_changes(work: Work, begun: Listing) -> tuple[list[bytes], list[bytes], list[str]]:
    """Differences to the index: paths to add or update, paths to remove, and git's notes."""
    try:
        ignored = git.finish(begun.ignored, waiting=work.must_have_rules).stdout.split(b"\0")[:-1]
    finally:
        found = git.finish(begun.changes, waiting=work.must_have_rules)
    opened: set[bytes] = set()
    while nested := _nested(work, found.stdout) - opened:
        # A repository in the project: git lists its files only if the index has one of them.
        path = os.fsencode(work.prefix)
        placeholder = b"100644 " + b"1" * (2 * work.store.id_size) + b" 0\t" + path + b"%b" + _PLACEHOLDER
        work.update("--index-info", names=[placeholder % name for name in nested])
        opened |= nested
        found = work.git(*_FIND, *work.rules)
    _check_notes(found.notes)
    lines = [line for line in found.stdout.split(b"\0")[:-1] if not line.endswith(b"/")]
    gone = set(ignored) | _displaced(work, {line[2:] for line in lines if not line.startswith(b"?")})
    names = dict.fromkeys(line[2:] for line in lines)
    notes = [note.removeprefix("warning: ") for note in found.notes]
    return [name for name in names if name not in gone], sorted(gone), notes


def _displaced(work: Work, names: Iterable[bytes]) -> set[bytes]:
    """Files of the index that were replaced by a folder, or are now below a link.

    git update-index treats them neither as removed nor as changed, but as an error.
    """
    linked: dict[str, bool] = {"": False}

    def beyond_link(folder: str) -> bool:
        if folder not in linked:
            is_link = os.path.islink(f"{work.root}/{folder}")
            linked[folder] = beyond_link(posixpath.dirname(folder)) or is_link
        return linked[folder]

    def is_folder(name: str) -> bool:
        path = f"{work.root}/{name}"
        return os.path.isdir(path) and not os.path.islink(path)

    decoded = ((name, os.fsdecode(name)) for name in names)
    return {name for name, text in decoded if beyond_link(posixpath.dirname(text)) or is_folder(text)}


def _nested(work: Work, listed: bytes) -> set[bytes]:
    """The repositories in git's listing that are not empty."""
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
    """Fail on an unreadable folder or ignore file: git only notes it and goes on."""
    for note in notes:
        if note.endswith("No such file or directory"):
            raise ChangedMeanwhile(note)
        if note.endswith(("Permission denied", "Input/output error")):
            raise TargetError(
                f"the snapshot failed: {note.removeprefix('warning: ')}",
                hint="make it readable, or list it in .amlignore (without one, in .gitignore)",
            )


def special_files(work: Work, folders: Iterable[str]) -> list[str]:
    """A warning about sockets, FIFOs and devices beside the snapshot's files, which git skips."""
    names: list[str] = []
    for folder in folders:
        try:
            with os.scandir(f"{work.root}/{folder}") as entries:
                names += [posixpath.join(folder, entry.name) for entry in entries if _is_special(entry)]
        except OSError:
            continue  # removed meanwhile
    if not names:
        return []
    from amlexec.snapshots.warnings import some  # there are hardly ever any

    kept = sorted(set(names) - _ignored(work, names))
    return [f"left out of the snapshot, because not a file or folder: {some(kept)}"] if kept else []


def _is_special(entry: os.DirEntry[str]) -> bool:
    return not (
        entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()
    )


def _ignored(work: Work, names: Iterable[str]) -> set[str]:
    """The names that the rules ignore, for files that git never lists."""
    index = f"{work.store.folder}/special.index"
    environment = work.store.environment(work.top, index)
    entry = b"100644 " + b"1" * (2 * work.store.id_size) + b" 0\t" + os.fsencode(work.prefix)
    lines = b"".join(entry + os.fsencode(name) + b"\0" for name in names)
    try:
        with work.store.writing():
            git.git(
                ["update-index", "-z", "--index-info"],
                folder=work.root,
                environment=environment,
                input=lines,
            )
            listed = git.git(
                ["ls-files", "-z", "--cached", "--ignored", *work.rules],
                folder=work.root,
                environment=environment,
            )
            with suppress(FileNotFoundError):
                os.unlink(index)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(index)
    return {os.fsdecode(name) for name in listed.split(b"\0")[:-1]}
