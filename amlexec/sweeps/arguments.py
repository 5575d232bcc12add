"""Find the parameters in a script's arguments: `--lr 0.1,0.01`, `--depth=2..6`, `lr=0.1,0.01`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.errors import UsageError
from amlexec.search import grammar
from amlexec.search.grammar import BadValuesError
from amlexec.search.space import Parameter
from amlexec.sweeps.definition import placeholder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.search.domains import Domain

__all__ = ["swept"]

_OPTION = re.compile(r"-{1,2}([A-Za-z_][A-Za-z0-9_.-]{0,99})")
_ASSIGNED = re.compile(r"((?:-{1,2})?([A-Za-z_][A-Za-z0-9_.-]{0,99})=)(.*)", re.DOTALL)


def swept(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    """The arguments with placeholders for what is searched, and the parameters, in order. No I/O.

    A parameter is called as its option; the value of no option is `arg1`, `arg2`, by its place.

    Raises:
        UsageError: values can't be read, or two parameters have the same name.
    """
    words: list[str] = []
    found: dict[str, Domain] = {}
    before = ""
    for place, word in enumerate(arguments, 1):
        assigned = _ASSIGNED.fullmatch(word)
        start, name, text = assigned.groups() if assigned else ("", "", word)
        domain = _values(word, text)
        if domain is None:
            words.append(start + grammar.literal(text))
        else:
            option = _OPTION.fullmatch(before)
            name = name or (option[1] if option else f"arg{place}")
            if name in found:
                raise UsageError(
                    f"two arguments are called {name}",
                    hint="a parameter is searched once: write '…' around a text",
                )
            found[name] = domain
            words.append(start + placeholder(name))
        before = word
    return tuple(words), tuple(Parameter(name, domain) for name, domain in found.items())


def _values(word: str, text: str) -> Domain | None:
    if _OPTION.fullmatch(word):
        return None
    try:
        return grammar.values(text)
    except BadValuesError as error:
        raise UsageError(str(error), hint=error.hint) from None
