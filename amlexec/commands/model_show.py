"""`amlexec model list` and `amlexec model show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import model_view, run_views
from amlexec.commands.options import add_output
from amlexec.models import names, registry

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    if verb.prog.endswith(" list"):
        verb.add_argument("name", nargs="?", metavar="NAME", help="only the versions of this name")
    else:
        verb.add_argument("model", metavar="MODEL", help=model_view.MODEL)
    add_output(verb)


def run(project: Project | None, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    found = registry.opened(project, arguments.registry)
    is_json = arguments.output == "json" or arguments.query is not None
    if arguments.verb == "show":
        model = found.find(arguments.model)
        if is_json:
            run_views.show(model_view.view(model), arguments)
        else:
            console.data(model_view.fields(model))
        return
    chosen = found.all() if arguments.name is None else [found.existing(names.model_name(arguments.name))]
    versions = [version for name in chosen for version in name.present[::-1]]
    if is_json:
        run_views.show([model_view.view(version) for version in versions], arguments)
    elif versions:
        console.data(model_view.table(versions))
    else:
        console.say(
            f"there are no models in {found.store.place} yet: "
            "amlexec model register -n NAME -r RUN -m outputs/model.pkl"
        )
