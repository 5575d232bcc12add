"""Groups of commands with verbs, such as `amlexec history list`: each verb has a module of its own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

__all__ = ["Verb", "declared"]


class Verb(NamedTuple):
    """A verb of a group."""

    module: str
    """Of `amlexec.commands`: with `add`, for its arguments, and `run`. Only the verb's own is imported."""
    summary: str


def declared(
    groups: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    verbs: Mapping[str, Verb],
    only: str | None = None,
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Declare a group; each verb's name and parser, with its own arguments but before `--project`.

    If `only` is a verb, no other one is declared.
    """
    from amlexec.commands.options import add_project

    group = groups.add_parser(name, help=help_text, allow_abbrev=False)
    parsers = group.add_subparsers(metavar="VERB", dest="verb", required=True, prog=group.prog)
    for verb, (module, summary) in verbs.items():
        if only == verb or only not in verbs:
            parser = parsers.add_parser(verb, help=summary, description=summary, allow_abbrev=False)
            import_module(f"amlexec.commands.{module}").add(parser)
            yield verb, parser
            add_project(parser)
