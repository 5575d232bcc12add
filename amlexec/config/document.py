"""READ: parse a file to a tree in which every scalar keeps its source text and its place.

YAML's own types are not used: `0123`, `1.10`, `5:22` and `on` stay as the user wrote them, and the schema
decides their types later. JSON is parsed as YAML.
"""

from __future__ import annotations

from contextlib import suppress

from amlexec.config import foreign, syntax_errors
from amlexec.config.tree import MapEntry, Mapping, Node, Scalar, Sequence, plain
from amlexec.errors import ConfigurationError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

__all__ = ["Document", "MapEntry", "Mapping", "Node", "Scalar", "Sequence", "plain", "read"]

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Also counts what aliases stand for, so that a few lines can't grow into gigabytes."""
_TOO_DEEP = "maximum nesting depth"
"""In libyaml's message (since PyYAML 6.0.4) for a file that is nested deeper than 1,000."""


class Document(NamedTuple):
    """A parsed file. `path` is how messages name it."""

    path: str
    root: Mapping
    text: str = ""
    silent: tuple[tuple[tuple[str, ...], syntax_errors.Fault], ...] = ()
    """Texts that YAML accepts but reads otherwise than meant: the keys above, and the probable mistake."""


def read(data: bytes, path: str, *, lenient: bool = False) -> Document:
    """The tree of a YAML or JSON file. With `lenient`, the faults in `Document.silent` don't raise.

    Raises:
        ConfigurationError: the file can't be parsed; the violation has the place and the likely cause.
    """
    text = _text(data, path)
    try:
        document = _read(text, path)
    except ConfigurationError as error:
        other = foreign.whole_file(text, error.violations[0].place.line)
        if other is None:
            raise
        _fail(path, syntax_errors.Fault(*other))
    if document.silent and not lenient:
        _fail(path, document.silent[0][1])
    return document


def _read(text: str, path: str) -> Document:
    fault = syntax_errors.before_parsing(text)
    if fault:
        _fail(path, fault)
    import yaml

    safe = syntax_errors.for_yaml(text, libyaml=hasattr(yaml, "CSafeLoader"))
    builder = _Builder(path)
    try:
        _parse(safe, builder)
    except yaml.MarkedYAMLError as error:
        if _TOO_DEEP in str(error.problem) and error.problem_mark is not None:
            # libyaml reads ahead for a possible key, and stops at its own limit before we saw the level at
            # ours. The text before that place has all those levels.
            with suppress(yaml.YAMLError):
                _parse(safe[: error.problem_mark.index], _Builder(path))
        _fail(path, syntax_errors.after_parsing(text, error))
    except (yaml.YAMLError, RecursionError) as error:  # pragma: no cover - `_text` checked the characters
        _fail(path, syntax_errors.Fault(0, 0, f"not readable as YAML: {str(error).splitlines()[0]}"))
    root = builder.finish()
    silent = tuple(
        (builder.folded[index][3], fault) for index, fault in syntax_errors.in_scalars(text, builder.folded)
    )
    if builder.duplicates:
        violations = [_violation(path, fault) for fault in builder.duplicates]
        raise ConfigurationError(violations[0].message, where=str(violations[0].place), violations=violations)
    if isinstance(root, Mapping):
        return Document(path, root, text, silent)
    if silent:
        _fail(path, silent[0][1])
    return _fail(
        path, syntax_errors.not_a_map(text, root.line, root.column, is_list=isinstance(root, Sequence))
    )


def _parse(text: str, builder: _Builder) -> None:
    """Give a text's events to a builder, which raises ConfigurationError beyond its limits."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        while loader.check_event():
            builder.take(loader.get_event())
    finally:
        loader.dispose()


def _violation(path: str, fault: syntax_errors.Fault) -> Violation:
    return Violation(Place(path, fault.line, fault.column), "error", fault.message, fault.hint, fault.key)


def _fail(path: str, fault: syntax_errors.Fault) -> NoReturn:
    violation = _violation(path, fault)
    raise ConfigurationError(
        violation.message, hint=violation.hint, where=str(violation.place), violations=[violation]
    )


def _text(data: bytes, path: str) -> str:
    if len(data) > MAX_BYTES:
        _fail(path, syntax_errors.Fault(0, 0, f"the file is too large: {len(data):,} bytes"))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        _fail(
            path, syntax_errors.Fault(0, 0, "not UTF-8 but UTF-16", "save the file with the encoding UTF-8")
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = syntax_errors.position(before, len(before))
        fault = syntax_errors.Fault(
            line,
            column,
            f"not UTF-8: byte 0x{data[error.start]:02x}",
            "save the file with the encoding UTF-8",
        )
        _fail(path, fault)


class _Open:
    """A map or list whose end was not read yet."""

    def __init__(self, event: Any, *, is_map: bool) -> None:
        self.line = event.start_mark.line + 1
        self.column = event.start_mark.column + 1
        self.anchor = event.anchor
        self.is_map = is_map
        self.items: list[Node] = []
        self.entries: dict[str, MapEntry] = {}
        self.key: Scalar | None = None
        self.merged: list[tuple[Scalar, Node]] = []
        self.size = 1


class _Builder:
    """Builds the tree from the parser's events, without recursion: users decide how deep a file is."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.root: Node | None = None
        self.documents = 0
        self.nodes = 0
        self.duplicates: list[syntax_errors.Fault] = []
        self.folded: list[tuple[int, int, int, tuple[str, ...]]] = []
        """Plain scalars of several lines: line, column, last line, keys above."""

    def take(self, event: Any) -> None:
        """The next event."""
        name = type(event).__name__
        if name == "ScalarEvent":
            self._scalar(event)
        elif name in {"MappingStartEvent", "SequenceStartEvent"}:
            self._tag(event)
            if len(self.stack) >= MAX_DEPTH:
                self._fail(event, f"nested more than {MAX_DEPTH} deep")
            self.stack.append(_Open(event, is_map=name[0] == "M"))
        elif name in {"MappingEndEvent", "SequenceEndEvent"}:
            self._close(event)
        elif name == "AliasEvent":
            self._alias(event)
        elif name == "DocumentStartEvent":
            self.documents += 1

    def finish(self) -> Node:
        """The whole tree."""
        if self.root is None or (isinstance(self.root, Scalar) and self.root.is_null):
            _fail(self.path, syntax_errors.Fault(0, 0, "the file is empty"))
        return self.root

    def _scalar(self, event: Any) -> None:
        start, end = event.start_mark, event.end_mark
        forced = self._tag(event)
        is_plain = not event.style and not forced
        if is_plain and end.line > start.line and event.value:
            keys = tuple(level.key.text for level in self.stack if level.key is not None)
            self.folded.append((start.line + 1, start.column + 1, end.line + 1, keys))
        scalar = Scalar(event.value, is_plain, start.line + 1, start.column + 1, end.line + 1)
        if event.anchor:
            self.anchors[event.anchor] = (scalar, 1)
        self._add(scalar, 1, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            is_open = any(level.anchor == event.anchor for level in self.stack)
            problem = "is used inside itself" if is_open else "has no anchor"
            hint = "" if is_open else f"write quotes around '*{event.anchor}' if it is a text"
            self._fail(event, f"the alias '*{event.anchor}' {problem}", hint)
        node, size = self.anchors[event.anchor]
        self._add(node, size, event)

    def _close(self, event: Any) -> None:
        level = self.stack.pop()
        last = event.end_mark.line + 1
        node: Node
        if level.is_map:
            self._merge(level)
            node = Mapping(level.entries, level.line, level.column, last)
        else:
            node = Sequence(level.items, level.line, level.column, last)
        if level.anchor:
            self.anchors[level.anchor] = (node, level.size)
        self._add(node, level.size, event)

    def _add(self, node: Node, size: int, event: Any) -> None:
        self.nodes += 1
        if self.documents > 1:
            if isinstance(node, Scalar) and node.is_null:
                return  # a `---` at the end begins an empty document
            if not self.stack:
                line, column = node.line, node.column
                message = "a second document begins here; a file of this kind has one"
                _fail(self.path, syntax_errors.Fault(line, column, message, "remove the line '---' above it"))
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.size += size
        if top.size > MAX_NODES:
            self._fail(event, f"more than {MAX_NODES:,} values, counting what aliases repeat")
        if not top.is_map:
            top.items.append(node)
        elif top.key is None:
            top.key = self._key(node)
        else:
            self._entry(top, top.key, node)
            top.key = None

    def _key(self, node: Node) -> Scalar:
        if isinstance(node, Scalar):
            return node
        hint = "write quotes around a value that begins with '{' or '['"
        fault = syntax_errors.Fault(node.line, node.column, "a map or list where a key is expected", hint)
        return _fail(self.path, fault)

    def _entry(self, top: _Open, key: Scalar, value: Node) -> None:
        if key.is_plain and key.text == "<<":
            top.merged.append((key, value))
            return
        if key.text in top.entries:
            first = top.entries[key.text].line
            message = f"duplicate key '{key.text}'; the first is on line {first}"
            hint = "remove one of the two"
            self.duplicates.append(syntax_errors.Fault(key.line, key.column, message, hint, key.text))
            return
        top.entries[key.text] = MapEntry(key.line, key.column, value)

    def _merge(self, level: _Open) -> None:
        """`<<: *other`: the keys of the other map that this map lacks."""
        for key, value in level.merged:
            for source in value.items if isinstance(value, Sequence) else [value]:
                if not isinstance(source, Mapping):
                    _fail(
                        self.path,
                        syntax_errors.Fault(key.line, key.column, "'<<' merges a map, and this is not a map"),
                    )
                for name, entry in source.entries.items():
                    level.entries.setdefault(name, entry)

    def _tag(self, event: Any) -> bool:
        """Whether a tag makes the value a text. Tags that would make objects are refused."""
        tag = event.tag
        if tag is None or tag in _HARMLESS:
            return False
        if tag in {"!", "tag:yaml.org,2002:str"}:
            return True
        shown = tag.replace("tag:yaml.org,2002:", "!!")
        hint = "write quotes around a value that begins with '!'" if shown[:2] != "!!" else "remove the tag"
        return self._fail(event, f"the YAML tag '{shown}' is not allowed", hint)

    def _fail(self, event: Any, message: str, hint: str = "") -> NoReturn:
        mark = event.start_mark
        _fail(self.path, syntax_errors.Fault(mark.line + 1, mark.column + 1, message, hint))


def _harmless(names: Iterable[str]) -> frozenset[str]:
    return frozenset(f"tag:yaml.org,2002:{name}" for name in names)


_HARMLESS = _harmless(["map", "seq", "int", "float", "bool", "null", "timestamp"])
