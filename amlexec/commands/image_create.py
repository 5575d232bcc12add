"""`amlexec image create`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.service_options import add_models, sample_of, script_of

if TYPE_CHECKING:
    import argparse

    from amlexec.services.image import ServiceImage
    from amlexec.values import Project

__all__ = ["add", "add_content", "made", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("-n", "--name", required=True, metavar="NAME", help="name of the image")
    add_content(verb, required=True)
    verb.add_argument("-o", "--output", choices=["text", "json"], default="text", help="output format")


def add_content(verb: argparse.ArgumentParser, *, required: bool) -> None:
    """Add what an image is made of."""
    add_models(verb)
    verb.add_argument(
        "-f", "--file", required=required, metavar="SCRIPT", help="scoring script with init() and run(data)"
    )
    verb.add_argument(
        "-c",
        "--conda",
        metavar="FILE",
        default="",
        help="conda dependencies file (default: the environment that trained the models)",
    )
    verb.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="PATH",
        help="file or folder beside the script that it reads; modules that it imports are found",
    )
    verb.add_argument(
        "--sample",
        metavar="TEXT|@FILE",
        help="body of a request: shown on the page, and sent before a new version takes requests",
    )


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Make it, and print its name."""
    found = made(project, arguments)
    if arguments.output == "json":
        from amlexec.commands.output import as_json

        console.data(as_json(found._asdict()))
        return
    if not found.is_new:
        console.say("nothing to do: the engine has this image")
    console.data(found.reference)


def made(project: Project, arguments: argparse.Namespace) -> ServiceImage:
    """The image that the arguments describe. Raises as `services.image.create`."""
    from amlexec import progress
    from amlexec.services import environment, image, models

    target = environment.target_for(project, arguments.target)
    script = script_of(arguments.file)
    image.reference(arguments.name)
    served = models.found(project, arguments.models, arguments.registry)
    content = image.Content(
        arguments.name, script, tuple(arguments.include), served, sample_of(arguments.sample)
    )
    store = environment.store_for(target)
    with progress.for_terminal() as shown:
        kept = environment.chosen(project, target, store, served, arguments.conda, shown)
        for problem in environment.unfit(project, served, kept):
            console.say(f"warning: {problem}")
        return image.create(store.engine, project, content, kept, shown)
