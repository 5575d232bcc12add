"""Make the git repository for the snapshots of a project, once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from amlexec import git, private_folders
from amlexec.errors import TargetError
from amlexec.file_trees import walk
from amlexec.files import sync_folder

__all__ = ["make"]

# File contents are stored unchanged, whatever the project's .gitattributes says. (`-working-tree-encoding` is
# an error in git, so it is unset by `!`.)
_ATTRIBUTES = "* -text -eol -ident -filter !working-tree-encoding\n"

_CONFIGURATION = """\
[checkout]
\tworkers = 0
[core]
\tautocrlf = false
\tbigFileThreshold = 32m
\tcompression = 1
\tfileMode = true
\tfsmonitor = false
\tignoreCase = false
\tlooseCompression = 0
\tprecomposeUnicode = false
\tprotectHFS = false
\tprotectNTFS = false
\tsplitIndex = false
\tsymlinks = true
[gc]
\tauto = 0
\tpruneExpire = never
[index]
\tversion = 2
[maintenance]
\tauto = false
[pack]
\tcompression = 0
"""


def make(place: str, lock: int) -> None:
    """Make the repository in the folder `place`; it appears whole. `lock` is the descriptor of the held lock.

    Raises TargetError if it can't be made, or git is not installed.
    """
    folder = Path(place)
    state = folder.parent
    new = state / "snapshots.git.new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        _init(new, lock)
        private_folders.make(new / "info")
        texts = [(new / "info" / "attributes", _ATTRIBUTES), (new / "config", _CONFIGURATION)]
        if not (state / ".gitignore").exists():
            # amlexec's state never becomes a part of the user's repository
            texts.append((state / ".gitignore", "*\n"))
        for path, text in texts:
            with open(path, "a", encoding="utf-8", opener=private_folders.opener) as file:
                file.write(text)
        for each in walk(new):
            for entry in each.others:
                _sync(entry.name, each.descriptor)
            os.fsync(each.descriptor)
        new.rename(folder)
        sync_folder(state)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise TargetError(
            f"cannot make {folder}: {error.strerror}",
            hint="amlexec stores the snapshots of runs there: free some space, or make the folder writable",
        ) from error


def _sync(name: str, within: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=within)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _init(new: Path, lock: int) -> None:
    def make(*options: str) -> None:
        arguments = ["init", "--quiet", "--bare", "--template=", *options, str(new)]
        # git inherits the lock: if it outlives this process, the next one waits for it.
        git.finish(git.start(arguments, folder=str(new.parent), environment={}, inherit=(lock,)))

    try:
        make("--object-format=sha256")
    except git.GitError as error:
        if "object-format" not in error.output:
            raise
        make()
