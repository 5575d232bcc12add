"""`amlexec image`: images of services."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.commands.verbs import Verb, declared
from amlexec.config import load as config

if TYPE_CHECKING:
    import argparse

__all__ = ["VERBS", "add", "run"]

VERBS = {
    "create": Verb("image_create", "make an image that serves models with a scoring script"),
    "list": Verb("image_list", "list the images of services"),
    "push": Verb("image_push", "push the image of a service to a registry"),
}


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    for _, verb in declared(groups, "image", "make images that serve models", VERBS):
        verb.add_argument(
            "-t", "--target", metavar="NAME", default="docker", help="docker or remotedocker target"
        )


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = config.find_project(Path(arguments.project or os.getcwd()))  # noqa: PTH109 - one import less
    import_module(f"amlexec.commands.{VERBS[arguments.verb].module}").run(project, arguments)
    return 0
