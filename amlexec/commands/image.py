"""`amlexec image`: images of services."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from amlexec.commands.options import project_of
from amlexec.commands.verbs import Verb, declared

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
    project = project_of(arguments)
    import_module(f"amlexec.commands.{VERBS[arguments.verb].module}").run(project, arguments)
    return 0
