"""The command line of `amlexec`: its parsers, and the one place that chooses the exit code."""

from __future__ import annotations

from importlib import import_module

from amlexec import __version__, interrupts
from amlexec.console import show
from amlexec.errors import ScriptFailedError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.plain_arguments import NotPlainError, PlainParser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import SimpleNamespace
    from typing import Any

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


def parser(only: str | None = None, verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command line. `only` limits it to one group, and `verb` to one verb of
    `experiment` or `history`: that parser is faster to build.
    """
    from amlexec.argument_parser import ArgumentParser

    top = ArgumentParser(
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
        metavar="COMMAND", dest="group", required=True, parser_class=ArgumentParser, prog=top.prog
    )
    for name in GROUPS:
        if only in (None, name):
            _declare(groups, name, verb)
    return top


def _declare(groups: Any, name: str, verb: str | None) -> None:
    group = import_module(f"amlexec.commands.{name}")
    if verb is not None and name in {"experiment", "history"}:
        group.add(groups, verb)
    else:
        group.add(groups)


def _parsed(words: Sequence[str]) -> argparse.Namespace | SimpleNamespace:
    """The values of a command line that begins with a group, or is `--version`. Exits as argparse does."""
    # The version needs no parser of a group.
    group = words[0] if words[0] in GROUPS or list(words) == ["--version"] else None
    verb = words[1] if len(words) > 1 else None
    if group in GROUPS:
        plain = PlainParser("amlexec")
        try:
            _declare(plain.add_subparsers(dest="group"), words[0], verb)
            return plain.parse(words)
        except NotPlainError:
            pass
    return parser(group, verb).parse_args(words)


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
        head, tail = _split(_joined(arguments))
        parsed = _parsed(head)
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
