"""The project's state folder, `.amlexec/`: made in one place, private, and unseen by git."""

from __future__ import annotations

import os

from amlexec import private_folders

__all__ = ["make"]

# ruff: noqa: PTH102, PTH110, PTH112 - pathlib costs a run 3 ms


def make(state: str, *names: str) -> str:
    """Make the state folder `state`, and the folder `names` in it, where they are missing; its path.

    The state folder is for its owner only. A `.gitignore` in it keeps it out of `git status`, also in a
    project without ignore rules.

    Raises:
        OSError: it can't be made.
    """
    path = "/".join((state, *names))
    if names and os.path.isdir(path):
        return path
    try:
        os.mkdir(state, 0o700)
    except FileExistsError:
        if not os.path.isdir(state):
            raise
    ignore = f"{state}/.gitignore"
    if not os.path.exists(ignore):
        with open(ignore, "w", encoding="utf-8", opener=private_folders.opener) as file:
            file.write("# Made by amlexec: nothing in here belongs into a repository.\n*\n")
    private_folders.make(path)
    return path
