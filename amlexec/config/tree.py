"""The tree of a file: maps, lists and scalars with their places. Scalars keep their source text."""

from __future__ import annotations

import re

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

__all__ = ["MapEntry", "Mapping", "Node", "Scalar", "Sequence", "plain"]

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEAN = frozenset(
    form
    for word in ("yes", "no", "true", "false", "on", "off")
    for form in (word, word.title(), word.upper())
)
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])*)")
_FLOAT = re.compile(r"[-+]?(([0-9][0-9_]*)?\.[0-9_]*([eE][-+][0-9]+)?|[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*)")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\s].*)?")


class Scalar(NamedTuple):
    """One value: its text in the file, without quotes."""

    text: str
    is_plain: bool
    """Neither quoted nor a block scalar."""
    line: int
    column: int
    end_line: int

    @property
    def is_null(self) -> bool:
        """Whether the value is empty, `~` or `null`."""
        return self.is_plain and self.text in _NULL

    @property
    def resolved(self) -> str:
        """Its type in YAML 1.1: `null`, `bool`, `int`, `float`, `timestamp` or `str`."""
        if not self.is_plain:
            return "str"
        if self.text in _NULL:
            return "null"
        if self.text in _BOOLEAN:
            return "bool"
        for name, form in (("int", _INTEGER), ("float", _FLOAT), ("timestamp", _TIMESTAMP)):
            if form.fullmatch(self.text):
                return name
        return "str"


class MapEntry(NamedTuple):
    """An entry of a map: the place of the key, and the value."""

    line: int
    column: int
    value: Node


class Mapping(NamedTuple):
    """A map, in the order of the file."""

    entries: dict[str, MapEntry]
    line: int
    column: int
    end_line: int


class Sequence(NamedTuple):
    """A list."""

    items: list[Node]
    line: int
    column: int
    end_line: int


Node = Scalar | Mapping | Sequence


def plain(node: Node) -> Any:
    """The value as dict, list, text and None; texts are not converted."""
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return None if node.is_null else node.text
