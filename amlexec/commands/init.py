"""`amlexec init`: set up a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.console import data, say
from amlexec.scaffold import Scaffold, make

if TYPE_CHECKING:
    import argparse

__all__ = ["add", "run"]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "init",
        help="set up a project: aml_config, dodo.py, ignore rules",
        description="Make a folder a project, with a local and a docker run configuration. "
        "Existing files are not changed.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="default: current folder")


def run(arguments: argparse.Namespace) -> int:
    """Create the missing files; print what was created and kept, and what to type next."""
    made = make(Path(arguments.folder))
    for name in made.created:
        data(f"created {name}")
    for name in made.kept:
        data(f"kept    {name}")
    for line in _next(made):
        say(line)
    return 0


def _next(made: Scaffold) -> list[str]:
    import shlex

    lines = []
    if made.git_rules:
        lines += [
            "",
            "Runs leave out what .gitignore excludes; an .amlignore replaces these rules.",
        ]
    lines += ["", "What to type next:", ""]
    if made.folder.resolve() != Path.cwd():
        lines.append(f"  cd {shlex.quote(str(made.folder))}")
    return [
        *lines,
        "  doit list --all",
        "  doit submit:local script=train.py",
        "  amlexec experiment submit -c local train.py",
    ]
