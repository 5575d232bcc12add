"""argparse's parser, with amlexec's errors and hints."""

from __future__ import annotations

import argparse
from functools import partial

from amlexec.errors import UsageError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["ArgumentParser"]


class ArgumentParser(argparse.ArgumentParser):
    """The parser of the command line, and of each group and verb."""

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
