"""The verbs: what may be typed after `amlexec`, and the one place that picks an exit code for it."""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from amlexec import __version__
from amlexec.console import show
from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parser", "run"]

GROUPS = {
    "init": "make a project ready: aml_config, dodo.py, ignore rules",
    "lint": "validate the files of aml_config",
    "lock": "write down which packages the dependencies come to",
    "computetarget": "attach machines, list, check and detach targets",
    "runconfiguration": "make run configurations, list, show and delete them",
    "experiment": "run scripts, and act on runs",
    "history": "find, compare and read runs",
}
"""Each is a module of `amlexec.commands`, with `add` (its arguments) and `run`."""
_WITH_VERBS = frozenset({"computetarget", "runconfiguration", "experiment", "history"})
_ALSO = {"runconfigurations": "runconfiguration"}
"""Workbench's documents had both."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each argument that is declared; without a width of its own, each
        # asks for the terminal's, with a library that every command would have to load.
        super().__init__(**options, formatter_class=partial(argparse.HelpFormatter, width=80))

    def format_help(self) -> str:
        """The help text, as wide as the terminal."""
        self.formatter_class = argparse.HelpFormatter
        return super().format_help()

    def format_usage(self) -> str:
        """The usage line, as wide as the terminal."""
        self.formatter_class = argparse.HelpFormatter
        return super().format_usage()

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name what is near to a word that can't stand there, or all that can."""
        if action.choices is None or value in action.choices:
            return
        from difflib import get_close_matches

        known = [str(one) for one in action.choices]
        near = get_close_matches(str(value), known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known)}"
        what = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
        raise UsageError(f"{value!r} is no {what.lstrip('-').lower()}", hint=f"{hint}; {self.prog} --help")

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process: `run` is what picks exit codes."""
        raise UsageError(message, hint=f"{self.prog} --help")


def parser(only: str | None = None, verb: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; with `only`, just that group's arguments, and with `verb` just that verb's of
    `experiment`, which is quicker to make.
    """
    top = _Parser(
        prog="amlexec",
        description="Run machine-learning experiments the way make and tox run builds.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"amlexec {__version__}")
    top.add_argument(
        # It is answered before the arguments are parsed; this is for the help.
        "--completion",
        choices=["bash", "zsh", "fish"],
        help="print what makes that shell complete commands, options and names",
    )
    groups = top.add_subparsers(
        metavar="COMMAND", dest="group", required=True, parser_class=_Parser, prog=top.prog
    )
    for name in GROUPS:
        if name == only == "experiment" and verb is not None:
            import_module("amlexec.commands.experiment").add(groups, verb)
        elif only in (None, name):
            import_module(f"amlexec.commands.{name}").add(groups)
    return top


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; the exit code."""
    if arguments and arguments[0] in _ALSO:
        arguments = [_ALSO[arguments[0]], *arguments[1:]]
    if not arguments or (len(arguments) == 1 and arguments[0] in _WITH_VERBS):
        # Who types only that wants to know what there is.
        arguments = [*arguments, "--help"]
    try:
        if arguments[0] in {"--completion", "--complete"}:
            from amlexec import completion

            return completion.run(arguments, parser)
        group = arguments[0] if arguments and arguments[0] in GROUPS else None
        head, tail = _split(arguments)
        found = parser(group, head[1] if len(head) > 1 else None).parse_args(head)
        found.tail = tail
        code: int = import_module(f"amlexec.commands.{found.group}").run(found)
    except SystemExit as end:  # argparse has printed a help text or a version
        return end.code if isinstance(end.code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        return show(error)
    return code


_VALUED = frozenset(
    {"-c", "--run-configuration", "--runconfig", "-t", "--target", "-p", "--project", "-o", "--output"}
)
"""The options of `experiment submit` that a value follows."""


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What is ours, up to the script's name, and what is the script's, word for word.

    argparse would take a `--` away from the script, and options that look like ours.
    """
    if list(arguments[:2]) != ["experiment", "submit"]:
        return arguments, []
    at = 2
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] not in {"-", "--"}:
        at += 2 if arguments[at] in _VALUED else 1
    if at < len(arguments) and arguments[at] == "--":
        at += 1
    return arguments[: at + 1], arguments[at + 1 :]
