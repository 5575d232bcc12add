"""`amlexec model`: register, find, compare and name versions of models."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from amlexec.commands.options import project_of
from amlexec.commands.verbs import Verb, declared
from amlexec.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["VERBS", "add", "run"]

VERBS = {
    "register": Verb("model_register", "add a file or folder as the next version of a model"),
    "list": Verb("model_show", "list the versions of all models, or of one"),
    "show": Verb("model_show", "show a version: its files, its run, its environment"),
    "download": Verb("model_download", "copy the files of a version into a folder"),
    "tag": Verb("model_mark", "add tags to a version, or remove them"),
    "promote": Verb("model_mark", "let an alias, such as champion, mean a version"),
    "compare": Verb("model_compare", "show the differences between the runs that made versions"),
    "export": Verb("model_export", "hand models to MLflow's model registry"),
    "delete": Verb("model_mark", "delete versions"),
}


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    for _, verb in declared(groups, "model", "register models, and name their versions", VERBS):
        verb.add_argument(
            "--registry",
            metavar="PLACE",
            help="folder or URL of the registry (default: AMLEXEC_MODELS, else the project's own)",
        )


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = _project(arguments)
    import_module(f"amlexec.commands.{VERBS[arguments.verb].module}").run(project, arguments)
    return 0


def _project(arguments: argparse.Namespace) -> Project | None:
    """The project; None if there is none and none is needed: another registry is named."""
    from amlexec.models.places import VARIABLE

    try:
        return project_of(arguments)
    except ConfigurationError:
        is_named = arguments.registry or os.environ.get(VARIABLE)
        if arguments.project or not is_named or getattr(arguments, "run", None):
            raise
        return None
