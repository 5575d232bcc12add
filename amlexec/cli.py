"""The command line of `amlexec`: its parsers, and the one place that chooses the exit code."""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module

from amlexec import __version__, interrupts
from amlexec.console import show
from amlexec.errors import ScriptFailedError, UsageError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

__all__ = ["parser", "run"]

GROUPS = {
    "init": "set up a project: aml_config, dodo.py, ignore rules",
    "lint": "validate the files of aml_config",
    "lock": "solve the dependencies and write the exact packages into a lock file",
    "computetarget": "attach machines; list, check and detach compute targets",
    "runconfiguration": "create, list, show and delete run configurations",
    "experiment": "submit scripts, and manage runs",
    "sweep": "list, watch, stop and cancel sweeps",
    "history": "find, compare and read runs",
    "model": "register models, and name their versions",
    "image": "make images that serve models",
    "service": "answer requests with a scoring script and models",
    "gc": "free disk space: remove what no run needs, here and on all targets",
}
"""Each is a module of `amlexec.commands`, with `add` (its arguments) and `run`."""
_WITH_VERBS = frozenset(
    {"computetarget", "runconfiguration", "experiment", "sweep", "history", "model", "image", "service"}
)
_ALSO = {"runconfigurations": "runconfiguration"}
"""Workbench's documentation used both names."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # argparse makes a formatter for each argument. Without a fixed width, each formatter reads the width
        # of the terminal through a library, which every command would then import.
        super().__init__(**options, formatter_class=partial(argparse.HelpFormatter, width=80))

    def format_help(self) -> str:
        """The help text, as wide as the terminal."""
        self.formatter_class = argparse.HelpFormatter
        return super().format_help()

    def format_usage(self) -> str:
        """The usage line, as wide as the terminal."""
        self.formatter_class = argparse.HelpFormatter
        return super().format_usage()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse, also words after an option that belong to a last argument of any number.

        Before Python 3.13, argparse takes `NAME…` for empty in `export mlflow --to URI NAME`.
        """
        found, rest = super().parse_known_args(args, namespace)
        words = [action for action in self._actions if not action.option_strings]
        if rest and words and words[-1].nargs == "*" and not any(word.startswith("-") for word in rest):
            setattr(found, words[-1].dest, [*getattr(found, words[-1].dest), *rest])
            rest = []
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Suggest the nearest choices for an invalid one, or list all choices."""
        if action.choices is None or value in action.choices:
            return
        from difflib import get_close_matches

        choices = [str(choice) for choice in action.choices]
        near = get_close_matches(str(value), choices, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(choices)}"
        name = action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
        raise UsageError(f"unknown {name.lstrip('-').lower()} {value!r}", hint=f"{hint}; {self.prog} --help")

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process: `run` chooses the exit code."""
        raise UsageError(message, hint=f"{self.prog} --help")


def parser(only: str | None = None, verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command line. `only` limits it to one group, and `verb` to one verb of
    `experiment` or `history`: that parser is faster to build.
    """
    top = _Parser(
        prog="amlexec",
        description="Run machine-learning experiments the way make and tox run builds.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"amlexec {__version__}")
    top.add_argument(
        # `run` handles it before the arguments are parsed; declared here for the help text only.
        "--completion",
        choices=["bash", "zsh", "fish"],
        help="print the completion script for that shell",
    )
    groups = top.add_subparsers(
        metavar="COMMAND", dest="group", required=True, parser_class=_Parser, prog=top.prog
    )
    for name in GROUPS:
        if name == only and name in {"experiment", "history"} and verb is not None:
            import_module(f"amlexec.commands.{name}").add(groups, verb)
        elif only in (None, name):
            import_module(f"amlexec.commands.{name}").add(groups)
    return top


def run(arguments: Sequence[str]) -> int:
    """Execute a command line; returns the exit code."""
    if arguments and arguments[0] in _ALSO:
        arguments = [_ALSO[arguments[0]], *arguments[1:]]
    if not arguments or (len(arguments) == 1 and arguments[0] in _WITH_VERBS):
        # A command without its verb prints its help.
        arguments = [*arguments, "--help"]
    try:
        if arguments[0] in {"--completion", "--complete"}:
            from amlexec import completion

            return completion.run(arguments, parser)
        # The version needs no parser of a group.
        group = arguments[0] if arguments[0] in GROUPS or list(arguments) == ["--version"] else None
        head, tail = _split(_joined(arguments))
        parsed = parser(group, head[1] if len(head) > 1 else None).parse_args(head)
        parsed.tail = tail
        code: int = import_module(f"amlexec.commands.{parsed.group}").run(parsed)
    except SystemExit as end:  # argparse has printed a help text or a version
        return end.code if isinstance(end.code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        if interrupts.came() and not isinstance(error, ScriptFailedError):
            return show(KeyboardInterrupt())  # which has led to the error
        return show(error)
    return code


_SUBMIT = frozenset(
    {"-c", "--run-configuration", "--runconfig", "-t", "--target", "-p", "--project", "-o", "--output"}
)
_SWEEP = _SUBMIT | {
    *("-j", "--jobs", "--random", "--optuna", "--sampler", "--list", "--seed", "--metric", "--goal"),
    *("--early-stop", "--timeout", "--run-timeout", "--job", "--resume"),
}
_RERUN = frozenset({"-t", "--target", "-p", "--project", "-o", "--output", "--rtol", "--atol", "--bundle"})
_VALUED = {"submit": _SUBMIT, "sweep": _SWEEP, "rerun": _RERUN}
"""The options of these verbs of `experiment` that take a value."""
_SWITCHES = frozenset({"-a", "--async", "--replace", "--accept-changes", "--verify", "-h", "--help"})
"""The options of `experiment rerun` that take none."""


def _joined(arguments: Sequence[str]) -> Sequence[str]:
    """Join the options of `history` with values that argparse would take for options: `--sort -accuracy`."""
    if arguments[0] != "history":
        return arguments
    found: list[str] = []
    for word in arguments:
        if found and found[-1] == "--sort":
            found[-1] = f"--sort={word}"
        else:
            found.append(word)
    return found


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split `experiment submit` and `sweep` into amlexec's arguments, up to the script's name, and its own.

    argparse would remove a `--` from the script's arguments, and parse options that look like amlexec's.
    In `experiment rerun`, options of amlexec may also follow the run's id, up to the first that is another.
    """
    if arguments[0] != "experiment" or len(arguments) < 2 or arguments[1] not in _VALUED:
        return arguments, []
    if arguments[1] == "rerun":
        return _split_rerun(arguments)
    valued, at = _VALUED[arguments[1]], 2
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] not in {"-", "--"}:
        at += 2 if arguments[at] in valued else 1
    if at < len(arguments) and arguments[at] == "--":
        at += 1
    return arguments[: at + 1], arguments[at + 1 :]


def _split_rerun(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    # The run is in a bundle, or it is the first word.
    has_run, at = any(word.partition("=")[0] == "--bundle" for word in arguments), 2
    while at < len(arguments):
        word = arguments[at]
        if word == "--":
            return arguments[:at], arguments[at + 1 :]
        if word in _RERUN:
            at += 2
        elif word in _SWITCHES or (word.startswith("--") and word.partition("=")[0] in _RERUN):
            at += 1
        elif has_run or word.startswith("-"):
            break
        else:
            has_run, at = True, at + 1
    # An unknown option before the run's id is argparse's error.
    return (arguments[:at], arguments[at:]) if has_run else (arguments, [])
