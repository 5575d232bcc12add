"""Parse plain command lines without argparse, whose import and parsers take 5 ms of every command.

The modules of `amlexec.commands` declare their arguments by calls of argparse's methods. `PlainParser` takes
the same calls, as far as they are needed here, and parses a command line of which every word is an option as
declared, the value of one, or an argument. All others (with a wrong or a shortened word, `--option=value`, a
request for help) it leaves to argparse, which also says what is wrong.
"""

from __future__ import annotations

from types import SimpleNamespace

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from typing import Any

__all__ = ["NotPlainError", "PlainParser"]


_OF_OPTIONS = (frozenset({"store", "store_true", "append"}), frozenset({None}))
"""`action` and `nargs` that are understood."""
_OF_WORDS = (frozenset({"store"}), frozenset({None, "?", "*"}))


class NotPlainError(Exception):
    """Only argparse can parse this command line, or has to say what is wrong with it."""


class _Argument(NamedTuple):
    dest: str
    action: str = "store"
    """`store`, `store_true` or `append`."""
    nargs: str | None = None
    """Of an argument that is no option: None for one word, `?` or `*`."""
    default: Any = None
    type: Callable[[str], Any] = str
    choices: Container[Any] | None = None
    required: bool = False

    @property
    def if_absent(self) -> Any:
        """The value without a word for it."""
        return [] if self.nargs == "*" and self.default is None else self.default

    def value(self, word: str) -> Any:
        """The value of a word, if it is a valid one."""
        if word.startswith("-"):
            raise NotPlainError  # to argparse, it may be a value or an option
        try:
            value = self.type(word)
        except Exception:
            raise NotPlainError from None
        if self.choices is not None and value not in self.choices:
            raise NotPlainError
        return value


class PlainParser:
    """A parser for plain command lines; its methods of argparse's names are as argparse's."""

    def __init__(self, prog: str) -> None:
        self.prog = prog
        """The words of a command line that lead to this parser."""
        self._declared: list[_Argument] = []
        self._options: dict[str, _Argument] = {}
        self._words: list[_Argument] = []
        self._exclusive: list[_Exclusive] = []
        self._parsers: dict[str, PlainParser] = {}
        self._chosen = ""
        """The name of the value that says which of `_parsers` is used."""

    def add_argument(self, *names: str, **declared: Any) -> str:
        """Declare an option or an argument; returns the name of its value."""
        for only_for_help in ("metavar", "help"):
            declared.pop(only_for_help, None)
        is_option = names[0].startswith("-")
        of_long = next((name[2:] for name in names if name.startswith("--")), names[0].lstrip("-"))
        dest = declared.pop("dest", of_long.replace("-", "_") if is_option else names[0])
        if declared.get("action") == "store_true":
            declared["default"] = False
        try:
            argument = _Argument(dest, **declared)
        except TypeError:
            raise NotPlainError from None
        allowed = {"store", "store_true", "append"} if is_option else {"store"}
        if argument.action not in allowed or argument.nargs not in (
            {None} if is_option else {None, "?", "*"}
        ):
            raise NotPlainError
        if isinstance(argument.default, str) and argument.type is not str:
            raise NotPlainError  # argparse converts it
        self._declared.append(argument)
        if is_option:
            self._options |= dict.fromkeys(names, argument)
        else:
            self._words.append(argument)
        return str(dest)

    def add_mutually_exclusive_group(self, *, required: bool = False) -> _Exclusive:
        """Declare options of which a command line has at most one; or exactly one, if `required`."""
        self._exclusive.append(_Exclusive(self, required))
        return self._exclusive[-1]

    def add_subparsers(self, *, dest: str, **_: object) -> PlainParser:
        """Declare that a word chooses one of the parsers that are added to the result."""
        self._chosen = dest
        return self

    def add_parser(self, name: str, **_: object) -> PlainParser:
        """Add the parser that `name` chooses."""
        self._parsers[name] = PlainParser(f"{self.prog} {name}")
        return self._parsers[name]

    def parse(self, words: Sequence[str]) -> SimpleNamespace:
        """The values of a command line.

        Raises:
            NotPlainError: let argparse parse it.
        """
        found: dict[str, Any] = {}
        self._parse(words, found)
        return SimpleNamespace(**found)

    def _parse(self, words: Sequence[str], found: dict[str, Any]) -> None:
        for argument in self._declared:
            found.setdefault(argument.dest, argument.if_absent)
        if self._chosen:
            if self._declared or not words or words[0] not in self._parsers:
                raise NotPlainError
            found[self._chosen] = words[0]
            self._parsers[words[0]]._parse(words[1:], found)  # noqa: SLF001 - its own class
            return
        given: set[str] = set()
        at, end = 0, len(words)
        while at < end:
            if (option := self._options.get(words[at])) is None:
                first = at
                while at < end and words[at] not in self._options:
                    at += 1
                self._take(words[first:at], found, given)
                continue
            given.add(option.dest)
            if option.action == "store_true":
                found[option.dest] = True
                at += 1
                continue
            if at + 1 == end:
                raise NotPlainError
            value = option.value(words[at + 1])
            found[option.dest] = [*(found[option.dest] or []), value] if option.action == "append" else value
            at += 2
        self._check(given)

    def _take(self, words: Sequence[str], found: dict[str, Any], given: set[str]) -> None:
        """Take the words between two options as the values of the arguments."""
        left = list(words)
        for argument in self._words:
            if argument.dest in given:
                raise NotPlainError  # they are in several places
            given.add(argument.dest)
            if argument.nargs == "*" and left:
                found[argument.dest] = [argument.value(word) for word in left]
                left = []
            elif left:
                found[argument.dest] = argument.value(left.pop(0))
            elif argument.nargs is None:
                raise NotPlainError
        if left:
            raise NotPlainError

    def _check(self, given: set[str]) -> None:
        needed = {argument.dest for argument in self._declared if argument.required}
        needed |= {argument.dest for argument in self._words if argument.nargs is None}
        if not needed <= given or not all(group.allows(given) for group in self._exclusive):
            raise NotPlainError


class _Exclusive:
    """Options of a parser that exclude each other."""

    def __init__(self, parser: PlainParser, required: bool) -> None:
        self._parser, self._required = parser, required
        self._names: set[str] = set()

    def add_argument(self, *names: str, **declared: Any) -> None:
        """Declare one of them."""
        self._names.add(self._parser.add_argument(*names, **declared))

    def allows(self, given: set[str]) -> bool:
        """Whether so many of them may be given."""
        return len(self._names & given) <= 1 and (not self._required or bool(self._names & given))
