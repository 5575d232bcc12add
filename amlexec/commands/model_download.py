"""`amlexec model download`: copy the files of a version into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import model_view
from amlexec.models import download, registry

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("model", metavar="MODEL", help=model_view.MODEL)
    verb.add_argument(
        "-d", "--destination", metavar="FOLDER", help="default: models/NAME/VERSION in the current folder"
    )


def run(project: Project | None, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    found = registry.opened(project, arguments.registry)
    model = found.find(arguments.model)
    default = f"models/{model.version.name}/{model.number}"
    path = download.into(Path(arguments.destination or default), model, found)
    console.say(f"{model.id} copied to:")
    console.data(str(path))
