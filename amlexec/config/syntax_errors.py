"""Find the mistake in a text that YAML can't parse, or parses otherwise than meant.

A parser reports where it stopped, which is often a line below the mistake. These functions find the
probable mistake and its place.
"""

from __future__ import annotations

import re

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yaml import MarkedYAMLError

__all__ = ["Fault", "after_parsing", "before_parsing", "for_yaml", "in_scalars", "not_a_map", "position"]


class Fault(NamedTuple):
    """One mistake. `line` and `column` count from 1; 0 means the whole file."""

    line: int
    column: int
    message: str
    hint: str = ""
    key: str = ""


_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML calls not printable (https://yaml.org/spec/1.1/#c-printable)."""
_CONFLICT = re.compile(r"^(<{7}|>{7})(?: .*)?$", re.MULTILINE)
_NOT_IN_YAML = re.compile("[\t\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff]")
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_TAB_INDENT = re.compile(r"( *)\t\s*[^\s#]")
_TAB_AFTER_COLON = re.compile(
    r"""^([ ]*(?:- +)?(?:"[^"\n]*"|'[^'\n]*'|[^\s"'#:]+)[ ]*:)\t[\t ]*""", re.MULTILINE
)
_NO_BLANK = re.compile(r"""\s*(?:- +)?(["']?)([A-Za-z_][\w.]*)\1:(?=[^\s/\\:])""")
_NO_BLANK_AFTER_DASH = ("no blank after the dash", "write '- ' before the item")
_ITEM = re.compile(r"( *)- ")
_KEY_ONLY = re.compile(r"""\s*(?:- +)?(?:"[^"]*"|'[^']*'|[^\s"'\-:][^"':]*)\s*""")
_QUOTED_END = re.compile(r'"(?:[^"\\\n]|\\.)*"\Z')


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a place in `text`, from 1."""
    line, start = 1, 0
    for found in _BREAK.finditer(text, 0, offset):
        line, start = line + 1, found.end()
    return line, offset - start + 1


def before_parsing(text: str) -> Fault | None:
    """Faults that would confuse a parser: conflict markers, and characters that YAML does not allow."""
    if "<<<<<<<" in text or ">>>>>>>" in text:
        found = _CONFLICT.search(text)
        if found:
            line, column = position(text, found.start())
            hint = "finish the merge: keep one of the two sides and remove the markers"
            return Fault(line, column, "git conflict marker", hint)
    found = _FORBIDDEN.search(text)
    if found and not (_is_json(text) and _parses_as_json(text)):
        line, column = position(text, found.start())
        return Fault(line, column, f"the character U+{ord(found[0]):04X} is not allowed in YAML")
    return None


def for_yaml(text: str, *, libyaml: bool) -> str:
    """The text for the parser; every value stays on its line.

    Rewrites JSON that YAML would refuse or misread: tabs, the line separators of Unicode, and characters
    that JSON writes as two escapes. Files of 2017 have a tab after a colon: libyaml accepts it, the pure
    Python parser does not.
    """
    if _is_json(text) and ("\\ud" in text.lower() or _NOT_IN_YAML.search(text)) and _parses_as_json(text):
        text = _PAIR.sub(_joined, text)
        return _NOT_IN_YAML.sub(lambda match: " " if match[0] == "\t" else f"\\u{ord(match[0]):04x}", text)
    return text if libyaml or "\t" not in text else _TAB_AFTER_COLON.sub(r"\1 ", text)


def _joined(pair: re.Match[str]) -> str:
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] == "{"


def _parses_as_json(text: str) -> bool:
    import json

    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def not_a_map(text: str, line: int, column: int, *, is_list: bool) -> Fault:
    """The fault of a file that is a single value or a list."""
    lines = _BREAK.split(text)
    if not is_list:
        found = _no_blank(lines, range(line - 1, len(lines)), is_json=False)
        if found:
            return found
    what = "a list" if is_list else "a single value"
    return Fault(line, column, f"the file is {what}; expected keys and values", "write 'key: value'")


def in_scalars(
    text: str, folded: Sequence[tuple[int, int, int, tuple[str, ...]]]
) -> Iterator[tuple[int, Fault]]:
    """Values that YAML silently continued on the next line, where the user began something new.

    Yields the index in `folded` and the fault; `folded` has line, column, last line and the keys above.
    """
    lines = _BREAK.split(text) if folded else []
    for index, (line, column, last, _) in enumerate(folded):
        fault = _continued(lines, line, column, last)
        if fault is not None:
            yield index, fault


def _continued(lines: list[str], line: int, column: int, last: int) -> Fault | None:
    for number in range(line + 1, last + 1):
        found = _swallowed(lines, line, column, number)
        if found:
            return found
        if lines[number - 1].lstrip().startswith('"'):
            hint = f"check the end of line {number - 1}: a comma may be missing"
            return Fault(line, column, f"the value continues to line {last}", hint)
    return None


def _swallowed(lines: list[str], first: int, column: int, number: int) -> Fault | None:
    here = lines[number - 1]
    if re.match(r"-[^\s-]", lines[first - 1][column - 1 :]) and _ITEM.match(here):
        return Fault(first, column, *_NO_BLANK_AFTER_DASH)
    if _TAB_INDENT.match(here):
        return _tab(number, here)
    if re.match(r"\s*-\s", here):
        return _wrong_indent(lines, number - 1, first)
    return _no_blank(lines, [number - 1], is_json=False)


def after_parsing(text: str, error: MarkedYAMLError) -> Fault:
    """The probable cause of a parser's error."""
    lines = _BREAK.split(text)
    mark = error.problem_mark or error.context_mark
    row, col = (mark.line, mark.column) if mark else (0, 0)
    context = error.context_mark
    problem = str(error.problem or error.context or "")
    is_json = _is_json(text)
    rows = [number for number in ([context.line] if context else []) + [row, row - 1, row - 2] if number >= 0]
    rows = [number for number in rows if number < len(lines)]
    here = lines[row] if row < len(lines) else ""
    at = here[col : col + 1]
    if not is_json:
        for number in rows:
            if _TAB_INDENT.match(lines[number]) and number >= row - 1:
                return _tab(number + 1, lines[number])
    found = _no_blank(lines, rows, is_json=is_json)
    if found:
        return found
    if "',' or '" in problem:
        return _comma(lines, row, col, at, context, is_json=is_json)
    if "quoted scalar" in str(error.context) and context and "escape" not in problem + str(error.context):
        return Fault(context.line + 1, context.column + 1, "the quote that opens here is not closed")
    return (
        _of_list(lines, row, col, at, problem)
        or _of_value(lines, row, col, at, problem, context)
        or Fault(row + 1, col + 1, f"not valid YAML: {problem}")
    )


def _tab(line: int, text: str) -> Fault:
    return Fault(line, text.index("\t") + 1, "tab used for indentation", "indent with spaces")


def _no_blank(lines: list[str], rows: Sequence[int], *, is_json: bool) -> Fault | None:
    for row in rows:
        found = _NO_BLANK.match(lines[row])
        if found and not (is_json and found[1]):
            message = f"no blank after the colon of '{found[2]}'"
            return Fault(
                row + 1, found.end() + 1, message, f"write '{found[2]}: ' before the value", found[2]
            )
    return None


def _comma(lines: list[str], row: int, col: int, at: str, context: object, *, is_json: bool) -> Fault:
    """The fault of a map or list in braces that is not closed, or lacks a comma between two entries."""
    before = "\n".join([*lines[:row], lines[row][:col] if row < len(lines) else ""])
    rest = "\n".join([lines[row][col:], *lines[row + 1 :]]) if row < len(lines) else ""
    line = getattr(context, "line", row) + 1
    column = getattr(context, "column", col) + 1
    is_next_key = at == ":" and line <= row and not is_json
    if not rest.strip() or is_next_key:
        return Fault(
            line, column, f"the '{lines[line - 1][column - 1 : column]}' that opens here is not closed"
        )
    if at == ":":  # the parser took the next key for a part of this value
        before = before.rstrip()
        found = _QUOTED_END.search(before, before.rfind("\n") + 1)
        before = before[: found.start()] if found else before
    before = before.rstrip()
    hint = f"write ',' instead of '{before[-1]}'" if before[-1:] in {".", ";"} else ""
    return Fault(*position(before, len(before)), "missing comma", hint)


def _of_list(lines: list[str], row: int, col: int, at: str, problem: str) -> Fault | None:
    here = lines[row] if row < len(lines) else ""
    if at == "-" and ("node content" in problem or "sequence entries" in problem):
        hint = "separate the items by commas, or write each on a line with '- ' and no brackets"
        return Fault(row + 1, col + 1, "a dash inside [ ]", hint)
    above = next((number for number in range(row - 1, -1, -1) if lines[number].strip()), None)
    mine, theirs = _ITEM.match(here), _ITEM.match(lines[above]) if above is not None else None
    if mine and theirs and above is not None and mine[1] != theirs[1]:
        return _wrong_indent(lines, row, above + 1)
    if "'-' indicator" in problem or "block end>, but found '?'" in problem:
        key = here.strip().partition(":")[0]
        hint = f"write '- {key}:' if it is an item of the list, else move it to the left"
        return Fault(row + 1, col + 1, f"'{key}' is among the items of a list but has no dash", hint)
    return None


def _wrong_indent(lines: list[str], row: int, above: int) -> Fault:
    """The fault of the item in `row` (from 0); `above` (from 1) is the line of the item above it."""
    here = lines[row]
    is_pip = re.match(r"\s*-\s+pip\s*:", here) is not None
    what = "'- pip:'" if is_pip else "a list item"
    column = len(here) - len(here.lstrip()) + 1
    hint = f"put its dash below the dash of line {above}"
    if lines[row - 1].strip() == "- pip":
        hint = f"write '- pip:', with a colon, on line {row}"
    return Fault(row + 1, column, f"{what} at the wrong indent", hint)


def _of_value(lines: list[str], row: int, col: int, at: str, problem: str, context: object) -> Fault | None:
    here = lines[row] if row < len(lines) else ""
    quotes = "write quotes around the value"
    if "escape" in problem:
        hint = "write single quotes, or '/' instead of '\\'"
        return Fault(row + 1, col + 1, "invalid escape after '\\' inside double quotes", hint)
    if "cannot start any token" in problem:
        return Fault(row + 1, col + 1, f"a value can't begin with '{at}'", quotes)
    if "mapping values are not allowed" in problem or problem == "did not find expected key":
        if problem[-3:] == "key" or _KEY_ONLY.fullmatch(here[:col]):
            hint = "put it below the first letter of the key above it"
            return Fault(row + 1, len(here) - len(here.lstrip()) + 1, "a key at the wrong indent", hint)
        return Fault(row + 1, col + 1, "a second ':' in one line", quotes)
    if "expected ':'" in problem and context is not None:
        # The line without a colon is where the parser began, not where it stopped.
        line, column = getattr(context, "line", row) + 1, getattr(context, "column", col) + 1
        if re.match(r"-[^\s-]", lines[line - 1].strip()):
            return Fault(line, column, *_NO_BLANK_AFTER_DASH)
        return Fault(line, column, "a line without ':'", "write 'key: value'")
    if "<document start>" in problem and here[col:].strip():
        return Fault(row + 1, col + 1, "more text after the end of the value")
    return None
