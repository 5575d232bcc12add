"""`amlexec model register`: add a file or folder as the next version of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import model_view, output, run_views
from amlexec.commands.options import RUN, add_output
from amlexec.errors import TargetError, UsageError
from amlexec.history import find, folders
from amlexec.history.record import FINAL
from amlexec.models import provenance, registry

if TYPE_CHECKING:
    import argparse

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.models.provenance import Source
    from amlexec.values import Project

__all__ = ["add", "run", "tags_of"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("path", nargs="?", metavar="FILE", help="a file or folder, instead of a run's")
    verb.add_argument("-n", "--name", metavar="NAME", help="name of the model")
    verb.add_argument("-r", "--run", metavar="RUN", help=RUN)
    verb.add_argument(
        "-m",
        "--model",
        metavar="PATH",
        help="the model in the run's outputs, outputs/model.pkl (default: what its script registered)",
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
            "either FILE or -r RUN says what is registered",
            hint="amlexec model register -n NAME FILE, or -n NAME -r RUN -m outputs/model.pkl",
        )
    if arguments.run is None and arguments.model is not None:
        raise UsageError("-m is for an output of a run", hint="add -r RUN")
    if arguments.run is not None and arguments.model is None:
        assert project is not None, "a run needs a project"
        _asked_for(project, arguments)
        return
    if arguments.name is None:
        raise UsageError("the model has no name", hint="-n NAME")
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
    content = found.model.version.content
    if not found.is_new:
        console.say(f"these files are {found.model.id} already")
    else:
        files = "1 file" if len(content.files) == 1 else f"{len(content.files)} files"
        console.say(f"{found.model.id} is {content.root}: {files}, {output.size(content.bytes)}")
    console.data(found.model.id)


def _asked_for(project: Project, arguments: argparse.Namespace) -> None:
    """Register what the run's script has registered, if that failed before."""
    from amlexec.models import of_run

    paths, record = _run(project, arguments)
    if not of_run.requests(paths):
        raise UsageError(
            f"the script of {record.run_id} has registered no model",
            hint=f"name one of its outputs: amlexec model register -n NAME -r {record.run_id} "
            "-m outputs/model.pkl",
        )
    if arguments.name is not None or arguments.tag or arguments.description:
        raise UsageError("-n, --tag and --description are for a model that -m names", hint="-m PATH")
    found = of_run.register(project, paths, record, arguments.registry)
    if arguments.output == "json" or arguments.query is not None:
        run_views.show([each._asdict() for each in found], arguments)
    for each in found:
        if not each.id:
            console.say(f"warning: {each.name} was not registered: {each.problem}")
        elif arguments.output == "table" and arguments.query is None:
            console.data(each.id)
    if bad := sum(not each.id for each in found):
        raise TargetError(f"{bad} of {len(found)} models were not registered")


def _source(project: Project | None, arguments: argparse.Namespace) -> Source:
    if arguments.run is None:
        return provenance.of_file(Path(arguments.path))
    assert project is not None, "a run needs a project"
    _, record = _run(project, arguments)
    if record.status != "Completed":
        console.say(f"warning: {record.run_id} is {record.status}, not Completed")
    return provenance.of_run_output(project, record, arguments.model)


def _run(project: Project, arguments: argparse.Namespace) -> tuple[RunPaths, Run]:
    """The run that is named. Raises UsageError if it has not ended."""
    paths = find.find(project, arguments.run)
    record = run_views.now(project, folders.read(paths))
    if record.status not in FINAL:
        raise UsageError(
            f"{record.run_id} is {record.status}: its outputs are collected when it ends",
            hint=f"amlexec experiment follow -r {record.run_id}",
        )
    return paths, record


def tags_of(texts: list[str]) -> dict[str, str]:
    """The tags `KEY=VALUE` of the command line. Raises UsageError."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"{text[:80]!r} is not a tag", hint="--tag KEY=VALUE")
        found[name] = value
    return found
