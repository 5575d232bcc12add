"""Convert source texts to the types that the schema declares. Nothing is guessed from the text alone.

A key of type `string` keeps its text; a boolean is one of YAML 1.1's words; an integer is decimal digits.
A text that fits no type of the schema stays a text; the validator refuses it.
"""

from __future__ import annotations

import re

from amlexec.config.document import Mapping, Scalar, Sequence, plain
from amlexec.config.foreign import selector
from amlexec.config.messages import SECRET, dotted, nearest, shown
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from typing import Any

    from amlexec.config.document import MapEntry, Node

__all__ = ["Coercion", "Path", "takes_anything"]

Path = tuple[str | int, ...]

_TRUE = frozenset(["true", "yes", "on"])
_FALSE = frozenset(["false", "no", "off"])
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?")
_CONTROL = re.compile("[\x00-\x1f]")
_MOST_GUESSES = 50
"""Unknown keys that get a suggestion: finding one takes a millisecond."""
_ANYTHING: dict[str, Any] = {}


class Coercion:
    """One walk over a document and its schema, side by side.

    Afterwards `nodes` and `entries` hold the place of every value and key, `empty` the keys without a value,
    `suggested` the keys that misspelled ones probably mean, and `violations` the errors and warnings.
    """

    def __init__(self, path: str, *, strict: bool) -> None:
        self._path = path
        self._strict = strict
        self._guessed = 0
        self.nodes: dict[Path, Node] = {}
        self.entries: dict[Path, MapEntry] = {}
        self.empty: dict[Path, MapEntry] = {}
        self.suggested: set[Path] = set()
        self.violations: list[Violation] = []

    def value(self, node: Node, schema: dict[str, Any], at: Path = ()) -> Any:
        """The plain value of `node`, as `schema` types it."""
        self.nodes[at] = node
        if isinstance(node, Mapping):
            return self._map(node, schema, at)
        if isinstance(node, Sequence):
            items = schema.get("items", _ANYTHING)
            return [self.value(item, items, (*at, index)) for index, item in enumerate(node.items)]
        return self._scalar(node, schema, at)

    def _map(self, node: Mapping, schema: dict[str, Any], at: Path) -> dict[str, Any]:
        properties = schema.get("properties", _ANYTHING)
        others = schema.get("additionalProperties", True)
        data: dict[str, Any] = {}
        for key, entry in node.entries.items():
            where = (*at, key)
            self.entries[where] = entry
            if key in properties:
                self._property(
                    data, entry, properties[key], where, required=key in schema.get("required", ())
                )
            elif isinstance(others, dict):
                value = self.value(entry.value, others, where)
                data[key] = "" if value is None and "string" in _types(others) else value
            elif others:
                data[key] = plain(entry.value)
            else:
                self._unknown(key, entry, properties, at)
        return data

    def _property(
        self, data: dict[str, Any], entry: MapEntry, schema: dict[str, Any], at: Path, *, required: bool
    ) -> None:
        """A key of the schema. Without a value it counts as not set."""
        key = str(at[-1])
        node = entry.value
        types = _types(schema)
        if takes_anything(schema):
            # An ignored value can't be wrong, whatever its type, length or characters.
            self.nodes[at] = node
            if not (isinstance(node, Scalar) and node.is_null):
                data[key] = plain(node)
            return
        if isinstance(node, Scalar) and (node.is_null or not node.text.strip()):
            self.empty[at] = entry
            if required and "null" in types:
                data[key] = None
            return
        value = self.value(node, schema, at)
        if isinstance(value, str) and isinstance(node, Scalar) and "string" in types and key not in SECRET:
            value = self._edges(value, node, at)
        data[key] = value

    def _edges(self, value: str, node: Scalar, at: Path) -> str:
        text = value.strip()
        if text != value:
            self._say("warning", node, f"{dotted(at)} begins or ends with blanks, which are ignored", at=at)
        if _CONTROL.search(text):
            hint = "inside double quotes '\\' begins an escape: write single quotes, or '/'"
            self._say("error", node, f"{dotted(at)} contains a control character", hint, at)
        return text

    def _scalar(self, node: Scalar, schema: dict[str, Any], at: Path) -> Any:
        if node.is_null:
            return None
        types = _types(schema)
        text = node.text
        if "\0" in text:
            self._say("error", node, f"{dotted(at)} contains a NUL character", at=at)
        if "enum" in schema:
            return self._enum(node, schema["enum"], at)
        if not types or "string" in types:
            return text
        value: bool | int | float | None = None
        if "boolean" in types and text.lower() in _TRUE | _FALSE:
            value = text.lower() in _TRUE
        elif "integer" in types and _INTEGER.fullmatch(text):
            value = int(text)
        elif "number" in types and _NUMBER.fullmatch(text):
            value = float(text)
        if value is None:
            return text
        if not node.is_plain:
            self._say(
                "warning", node, f"{dotted(at)} is in quotes, which make it a text", f"write {text}", at
            )
        return value

    def _enum(self, node: Scalar, members: list[Any], at: Path) -> str:
        text = node.text.strip()
        if text in members:
            return node.text
        for member in members:
            if isinstance(member, str) and member.casefold() == text.casefold():
                self._say("warning", node, f"{dotted(at)} is {shown(text)}; it is spelled {member}", at=at)
                return member
        return node.text

    def _unknown(self, key: str, entry: MapEntry, properties: dict[str, Any], at: Path) -> None:
        """An unknown key: an error when it is a typing mistake, else a warning."""
        where = dotted((*at, key))
        place = Place(self._path, entry.line, entry.column)
        message, hint = selector(key) if "pip" in properties else ("", "")
        if message:
            self.suggested.add((*at, "pip"))
            self.violations.append(Violation(place, "error", message, hint, where))
            return
        self._guessed += 1
        guess, is_typo = nearest(key, list(properties)) if self._guessed <= _MOST_GUESSES else ("", False)
        # A misspelled ignored key is ignored too.
        is_typo = is_typo and not takes_anything(properties[guess])
        if is_typo:
            self.suggested.add((*at, guess))
        severity = "error" if is_typo or self._strict else "warning"
        hint = f"did you mean {guess}?" if guess else ""
        message = f"unknown key {shown(key)}" + (f" in {dotted(at)}" if at else "")
        self.violations.append(Violation(place, severity, message, hint, where))

    def _say(self, severity: str, node: Node, message: str, hint: str = "", at: Path = ()) -> None:
        place = Place(self._path, node.line, node.column)
        self.violations.append(Violation(place, severity, message, hint, dotted(at)))


def takes_anything(schema: dict[str, Any]) -> bool:
    """Whether a key takes any value: it is accepted and ignored."""
    return {"array", "boolean", "object", "string"} <= set(_types(schema))


def _types(schema: dict[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types
