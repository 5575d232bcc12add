"""`amlexec history download`: copy the files of a run into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import run_files, run_views
from amlexec.commands.options import RUN
from amlexec.errors import TargetError
from amlexec.history import find, folders
from amlexec.history.record import FINAL

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("-r", "--run", required=True, metavar="RUN", help=RUN)
    verb.add_argument("--artifact", metavar="NAME", help="only this file")
    verb.add_argument(
        "-d", "--destination", metavar="FOLDER", help="default: artifacts/RUN in the current folder"
    )
    verb.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    paths = find.find(project, arguments.run)
    record = run_views.now(project, folders.read(paths))
    if record.status not in FINAL:
        console.say(f"the run is {record.status}: its outputs are collected when it ends")
    if arguments.artifact is None:
        problems: list[OSError] = []
        chosen = run_files.names(paths, problems.append)
        for problem in problems:
            run_views.warn(console.system_error(problem))
    else:
        problems = []
        chosen = [str(run_files.find(paths, arguments.artifact).relative_to(paths.folder))]
    folder = Path(arguments.destination or f"artifacts/{record.run_id}")
    run_files.copy(paths, chosen, folder, overwrite=arguments.overwrite)
    console.say(f"{len(chosen)} {'file' if len(chosen) == 1 else 'files'} of {record.run_id} copied to:")
    console.data(str(folder))
    if problems:
        raise TargetError(
            f"{len(problems)} {'folder' if len(problems) == 1 else 'folders'} of {record.run_id} "
            "could not be read, and were not copied"
        )
