"""`amlexec model tag`, `promote` and `delete`: what can change about a version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import model_view, output
from amlexec.commands.model_register import tags_of
from amlexec.errors import UsageError
from amlexec.models import registry

if TYPE_CHECKING:
    import argparse

    from amlexec.models.registry import Registry
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    if verb.prog.endswith(" delete"):
        verb.add_argument("models", nargs="+", metavar="MODEL", help="NAME:VERSION, with a number")
        verb.add_argument("--force", action="store_true", help="even if aliases mean it; they are removed")
        return
    verb.add_argument("model", metavar="MODEL", help=model_view.MODEL)
    if verb.prog.endswith(" promote"):
        verb.add_argument("alias", metavar="ALIAS", help="a word, such as champion")
        verb.add_argument("--remove", action="store_true", help="remove the alias from the model NAME")
        return
    verb.add_argument(
        "tags", nargs="*", metavar="KEY[=VALUE]", help="a tag, with or without a text (default: show all)"
    )
    verb.add_argument(
        "--remove", action="extend", nargs="+", default=[], metavar="KEY", help="remove these tags"
    )
    verb.add_argument("--description", metavar="TEXT", help="replace the description")


def run(project: Project | None, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    found = registry.opened(project, arguments.registry)
    {"tag": _tag, "promote": _promote, "delete": _delete}[arguments.verb](found, arguments)


def _tag(found: Registry, arguments: argparse.Namespace) -> None:
    changes: dict[str, str | None] = {**tags_of(arguments.tags)}
    for name in arguments.remove:
        if name in changes:
            raise UsageError(f"the tag {name!r} can't be both added and removed")
        changes[name] = None
    model = found.find(arguments.model)
    if not changes and arguments.description is None:
        if model.tags:
            console.data(output.fields(model.tags))
        else:
            console.say(f"{model.id} has no tags: amlexec model tag {model.id} KEY=VALUE")
        return
    if changes:
        model = found.tag(model.id, changes)
        listed = ", ".join(f"{name}={value}" if value else name for name, value in model.tags.items())
        console.say(f"{model.id} is tagged: {listed or '(no tags)'}")
    if arguments.description is not None:
        found.describe(model.id, arguments.description)
        console.say(f"{model.id} is described")


def _promote(found: Registry, arguments: argparse.Namespace) -> None:
    if arguments.remove:
        found.remove_alias(arguments.model, arguments.alias)
        console.say(f"{arguments.model} has no {arguments.alias} any more")
        return
    model, before = found.promote(arguments.model, arguments.alias)
    was = f"; it was version {before}" if before not in (None, model.number) else ""
    console.say(f"{model.version.name}:{arguments.alias} is version {model.number}{was}")


def _delete(found: Registry, arguments: argparse.Namespace) -> None:
    for text in arguments.models:
        version = found.delete(text, even_if_named=arguments.force)
        console.say(f"{version.id} is deleted")
