"""`amlexec image push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("name", metavar="NAME", help="name of the image, as `image create -n` got it")
    verb.add_argument("where", metavar="REGISTRY/REPOSITORY", help="repository to push it to")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Push the newest image of that name, and print its reference."""
    from amlexec import progress
    from amlexec.images import registry
    from amlexec.services import environment, image

    engine = environment.store_for(environment.target_for(project, arguments.target)).engine
    where = registry.place(arguments.where)
    found = image.find(engine, image.reference(arguments.name))
    if found is None:
        raise UsageError(f"the engine has no image {arguments.name}", hint="amlexec image list")
    with progress.for_terminal() as shown:
        name = f"{where}:{found.content[:20]}"
        console.data(registry.push_image(engine, found.image_id, name, "image", shown))
