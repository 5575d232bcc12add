"""`amlexec history bundle` and `history import`: a run in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.options import RUN
from amlexec.history import find

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    if verb.prog.endswith(" bundle"):
        verb.add_argument("run", metavar="RUN", help=RUN)
        verb.add_argument("file", metavar="FILE", help="a new file, such as run.tar")
        verb.add_argument("--outputs", action="store_true", help="also pack the run's outputs")
    else:
        verb.add_argument("file", metavar="FILE", help="a file that `amlexec history bundle` has written")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    file = Path(arguments.file)
    if arguments.verb == "bundle":
        from amlexec.runs import bundle

        packed = bundle.write(project, find.find(project, arguments.run), file, outputs=arguments.outputs)
        console.say(f"{packed.run_id}: {file.stat().st_size:,} bytes, with all files of its snapshot, in:")
        console.data(arguments.file)
        return
    from amlexec.runs import bundle_import

    console.data(bundle_import.import_run(project, file).folder.name)
