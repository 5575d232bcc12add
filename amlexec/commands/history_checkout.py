"""`amlexec history checkout`: the files that a run executed, in a new folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.options import RUN
from amlexec.errors import TargetError
from amlexec.history import find, folders
from amlexec.snapshots.export import export

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("run", metavar="RUN", help=RUN)
    verb.add_argument("folder", metavar="FOLDER", help="a new folder: nothing is ever overwritten")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    found = folders.read(find.find(project, arguments.run))
    if found.snapshot is None:
        raise TargetError(f"{found.run_id} has no snapshot: it ended before one was taken")
    export(project, found.snapshot.tree, Path(arguments.folder))
    console.say(f"{found.snapshot.files} files of {found.run_id} written to:")
    console.data(arguments.folder)
