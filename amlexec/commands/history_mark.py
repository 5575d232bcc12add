"""`amlexec history tag` and `history note`: mark a run. Its record stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands import output
from amlexec.commands.options import RUN
from amlexec.errors import UsageError
from amlexec.history import find, notes, tags

if TYPE_CHECKING:
    import argparse

    from amlexec.history.paths import RunPaths
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("run", metavar="RUN", help=RUN)
    if verb.prog.endswith(" tag"):
        verb.add_argument(
            "tags",
            nargs="*",
            metavar="NAME[=VALUE]",
            help="a tag, with or without a text (default: show all)",
        )
        verb.add_argument(
            "--remove", action="extend", nargs="+", default=[], metavar="NAME", help="remove these tags"
        )
    else:
        verb.add_argument("text", nargs="?", metavar="TEXT", help="replaces the note (default: show it)")
        what = verb.add_mutually_exclusive_group()
        what.add_argument("--append", metavar="TEXT", help="add this as the last line of the note")
        what.add_argument("--remove", action="store_true", help="remove the note")


def run(project: Project, arguments: argparse.Namespace) -> None:
    """Do the verb."""
    if arguments.verb == "tag":
        _tag(project, arguments)
    else:
        _note(project, arguments)


def _tag(project: Project, arguments: argparse.Namespace) -> None:
    changes: dict[str, str | None] = {}
    for text in arguments.tags:
        name, _, value = text.partition("=")
        changes[_name(name)] = value
        if len(value) > tags.LONGEST_VALUE:
            raise UsageError(f"the value of tag {name!r} has more than {tags.LONGEST_VALUE} characters")
    for name in arguments.remove:
        if name in changes:
            raise UsageError(f"the tag {name!r} can't be both added and removed")
        changes[_name(name)] = None
    paths = find.find(project, arguments.run)
    before = tags.read(paths)
    if absent := [name for name, value in changes.items() if value is None and name not in before]:
        has = f"it has {', '.join(before)}" if before else "it has no tags"
        raise UsageError(f"{paths.folder.name} has no tag {absent[0]!r}", hint=has)
    if changes:
        tags.change(paths, changes)
        console.say(f"{paths.folder.name} is tagged: {_listed(paths)}")
    elif before:
        console.data(output.fields(before))
    else:
        console.say(f"{paths.folder.name} has no tags: amlexec history tag {paths.folder.name} NAME[=VALUE]")


def _name(name: str) -> str:
    if not 0 < len(name) <= tags.LONGEST_NAME:
        raise UsageError(
            f"{name[:40]!r} is not a name for a tag: it has {len(name)} characters",
            hint=f"a name has 1 to {tags.LONGEST_NAME} characters, and no '='",
        )
    return name


def _listed(paths: RunPaths) -> str:
    now = tags.read(paths)
    return ", ".join(f"{name}={value}" if value else name for name, value in now.items()) or "(no tags)"


def _note(project: Project, arguments: argparse.Namespace) -> None:
    if arguments.text is not None and (arguments.remove or arguments.append is not None):
        raise UsageError("a note is either replaced, or extended with --append, or removed with --remove")
    paths = find.find(project, arguments.run)
    before = notes.read(paths)
    if arguments.text is arguments.append is None and not arguments.remove:
        if before:
            console.data(before)
        else:
            console.say(f"{paths.folder.name} has no note: amlexec history note {paths.folder.name} TEXT")
        return
    text = arguments.text or arguments.append or ""
    if arguments.append is not None and before:
        text = f"{before}\n{text}"
    if (size := len(text.encode("utf-8", "surrogateescape"))) > notes.LONGEST:
        raise UsageError(
            f"the note has {size} bytes", hint=f"at most {notes.LONGEST}; a longer text belongs in a file"
        )
    notes.write(paths, text)
