"""Translate the validator's errors to messages: key, place, found value, expected value, suggestion."""

from __future__ import annotations

import re

from amlexec.config.document import Mapping, Scalar, Sequence
from amlexec.escaping import quoted as shown
from amlexec.light_typing import TYPE_CHECKING, Protocol
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from jsonschema.exceptions import ValidationError

    from amlexec.config.document import MapEntry, Node

__all__ = ["SECRET", "close", "dotted", "either", "nearest", "shown", "violation"]

SECRET = frozenset(["password", "privateKey"])
"""Keys whose values are never shown."""

_TYPES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a map of keys and values",
}


_LONGEST_WORD = 100


class Walked(Protocol):
    """The places in a document, collected for the validator; keys are paths of names and numbers."""

    nodes: dict[tuple[str | int, ...], Node]
    entries: dict[tuple[str | int, ...], MapEntry]
    empty: dict[tuple[str | int, ...], MapEntry]
    """Keys without a value."""
    suggested: set[tuple[str | int, ...]]
    """Keys that a misspelled key probably means."""


def dotted(path: Iterable[str | int]) -> str:
    """`("packages", 0, "group")` as `packages[0].group`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def either(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def close(word: str, known: Iterable[str]) -> str:
    """The known word that is most like `word`, or ""."""
    import difflib

    if len(word) > _LONGEST_WORD:
        return ""
    words = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), words, n=1, cutoff=0.6)
    return words[found[0]] if found else ""


def nearest(key: str, known: list[str]) -> tuple[str, bool]:
    """The known key most like `key`, and whether `key` is a typing mistake: one edit, or other case."""
    bare = re.sub(r"[\s_-]", "", key).casefold()
    for name in known:
        if name.casefold() == bare or _is_one_edit(key, name):
            return name, True
    return close(key, known), False


def _is_one_edit(left: str, right: str) -> bool:
    """Whether one letter was added, removed or changed, or two neighbours were swapped."""
    if abs(len(left) - len(right)) > 1 or min(len(left), len(right)) < 3:
        return False
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    a, b = left[start:], right[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[1::-1] + a[2:] == b and len(a) > 1)


def _found(node: Node | None, path: tuple[str | int, ...]) -> str:
    if isinstance(node, Mapping):
        return "a map of keys and values"
    if isinstance(node, Sequence):
        return "a list"
    if node is None or node.is_null or not node.text:
        return "empty"
    if path and path[-1] in SECRET:
        return "a text that is not shown"
    return shown(node.text)


def violation(error: ValidationError, walk: Walked, path: str) -> Violation | None:
    """One error of the validator as a violation; None if another violation reports it already."""
    at = tuple(error.absolute_path)
    if error.validator == "required":
        return _required(error, walk, path)
    node = walk.nodes.get(at)
    place = Place(path, node.line, node.column) if node and at else Place(path)
    name = dotted(at) or "the file"
    found = _found(node, at)
    if error.validator == "type":
        wanted = [name for name in _as_list(error.validator_value) if name != "null"]
        if "string" in wanted:
            wanted = [name for name in wanted if name not in {"boolean", "integer", "number"}]
        message = f"{name} is {found}; expected {either(_TYPES[name] for name in wanted)}"
        return Violation(place, "error", message, _type_hint(node, wanted, at), name)
    if error.validator == "enum":
        members = [member for member in _as_list(error.validator_value) if isinstance(member, str)]
        guess = close(node.text, members) if isinstance(node, Scalar) else ""
        if not isinstance(node, Scalar):
            return None  # the wrong type is reported already
        message = f"{name} is {found}; expected {either(members)}"
        return Violation(place, "error", message, f"did you mean {guess}?" if guess else "", name)
    if "propertyNames" in error.absolute_schema_path:
        return _property_name(error, walk, path, at)
    rule = {
        "minimum": f"{name} is {found}; expected at least {error.validator_value}",
        "minLength": f"{name} is empty",
    }
    if error.validator == "pattern" and isinstance(error.schema, dict) and "$comment" in error.schema:
        rule["pattern"] = f"{name} is {found}; expected {error.schema['$comment']}"
    message = rule.get(str(error.validator), f"{name} is {found}: {error.message.rstrip('.')}")
    return Violation(place, "error", message, "", name)


def _required(error: ValidationError, walk: Walked, path: str) -> Violation | None:
    at = tuple(error.absolute_path)
    instance: dict[str, Any] = error.instance if isinstance(error.instance, dict) else {}
    names = [name for name in _as_list(error.validator_value) if name not in instance]
    # The validator makes one error for each missing key; only its message names the key.
    key = next((name for name in names if error.message.startswith(f"'{name}'")), names[0])
    where = (*at, key)
    if where in walk.suggested:
        return None
    kind = instance.get("type")
    reason = f"; a target of type {kind} needs it" if key in {"address", "username"} and kind else ""
    if where in walk.empty:
        entry = walk.empty[where]
        place = Place(path, entry.value.line, entry.value.column)
        return Violation(place, "error", f"{dotted(where)} is empty{reason}", "", dotted(where))
    node = walk.nodes.get(at)
    place = Place(path, node.line, node.column) if node and at else Place(path)
    return Violation(place, "error", f"{dotted(where)} is missing{reason}", _missing_hint(key), dotted(where))


def _missing_hint(key: str) -> str:
    return "write 'type: local', 'type: docker' or another kind" if key == "type" else ""


def _property_name(error: ValidationError, walk: Walked, path: str, at: tuple[str | int, ...]) -> Violation:
    name = str(error.instance)
    entry = walk.entries.get((*at, name))
    place = Place(path, entry.line, entry.column) if entry else Place(path)
    expected = "letters, digits and _, and no digit first"
    message = f"{shown(name)} can't be a name in {dotted(at)}; expected {expected}"
    return Violation(place, "error", message, "", dotted((*at, name)))


def _type_hint(node: Node | None, wanted: list[str], at: tuple[str | int, ...]) -> str:
    if isinstance(node, Sequence) and wanted == ["string"]:
        only = node.items[0] if len(node.items) == 1 else None
        if isinstance(only, Scalar):
            text = "…" if at and at[-1] in SECRET else shown(only.text)[1:-1]
            return f"[{text}] looks like a placeholder: write your own value, without brackets"
    if isinstance(node, Scalar):
        if node.end_line > node.line:
            return f"the value continues to line {node.end_line}: check the end of line {node.line}"
        if "boolean" in wanted:
            guess = close(node.text, ["true", "false"])
            return f"did you mean {guess}?" if guess else ""
        if "array" in wanted and node.text.startswith("-"):
            return "write a blank after the dash"
        if wanted == ["object"] and "packages" in at:
            return "write group, artifact and version, each on its own line"
        if "array" in wanted:
            return "write each item on its own line, after '- '"
    return ""


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
