"""`amlexec model register`: add a file or folder as the next version of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import model_view, output, run_views
from amlexec.commands.options import RUN, add_output
from amlexec.errors import UsageError
from amlexec.history import find, folders
from amlexec.history.record import FINAL
from amlexec.models import provenance, registry

if TYPE_CHECKING:
    import argparse

    from amlexec.models.provenance import Source
    from amlexec.values import Project

__all__ = ["add", "run", "tags_of"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("path", nargs="?", metavar="FILE", help="a file or folder, instead of a run's")
    verb.add_argument("-n", "--name", metavar="NAME", help="name of the model")
    verb.add_argument("-r", "--run", metavar="RUN", help=RUN)
    verb.add_argument(
        "-m", "--model", metavar="PATH", help="the model in the run's outputs, such as outputs/model.pkl"
    )
    verb.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a tag of the version; can be repeated",
    )
    verb.add_argument("--description", default="", metavar="TEXT", help="what the model is")
    add_output(verb)


def run(project: Project | None, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if (arguments.path is None) == (arguments.run is None):
        raise UsageError(
            "what is registered is either a file or folder, or a run's output",
            hint="amlexec model register -n NAME FILE, or -n NAME -r RUN -m outputs/model.pkl",
        )
    if arguments.run is None and arguments.model is not None:
        raise UsageError("-m names an output of a run", hint="add -r RUN")
    if arguments.run is not None and arguments.model is None:
        raise UsageError("-r needs the run's output that is the model", hint="-m outputs/model.pkl")
    if arguments.name is None:
        raise UsageError("the model needs a name", hint="-n NAME")
    source = _source(project, arguments)
    found = registry.opened(project, arguments.registry).register(
        arguments.name,
        source.path,
        origin=source.origin,
        lock=source.lock,
        tags=tags_of(arguments.tag),
        description=arguments.description,
        within=source.within,
    )
    if arguments.output == "json" or arguments.query is not None:
        run_views.show({**model_view.view(found.model), "is_new": found.is_new}, arguments)
        return
    console.data(found.model.id)
    content = found.model.version.content
    if not found.is_new:
        console.say(f"these files are {found.model.id} already")
    else:
        files = "1 file" if len(content.files) == 1 else f"{len(content.files)} files"
        console.say(f"{found.model.id} is {content.root}: {files}, {output.size(content.bytes)}")


def _source(project: Project | None, arguments: argparse.Namespace) -> Source:
    if arguments.run is None:
        return provenance.of_file(Path(arguments.path))
    assert project is not None, "a run needs a project"
    paths = find.find(project, arguments.run)
    record = run_views.now(project, folders.read(paths))
    if record.status not in FINAL:
        raise UsageError(
            f"{record.run_id} is {record.status}: its outputs are collected when it ends",
            hint=f"amlexec experiment follow -r {record.run_id}",
        )
    if record.status != "Completed":
        console.say(f"warning: {record.run_id} is {record.status}, not Completed")
    return provenance.of_run_output(project, record, arguments.model)


def tags_of(texts: list[str]) -> dict[str, str]:
    """The tags `KEY=VALUE` of the command line. Raises UsageError."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"{text[:80]!r} is not a tag", hint="--tag KEY=VALUE")
        found[name] = value
    return found
