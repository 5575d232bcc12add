"""The syntax of the lines of a pip section: continuations, comments, options, extras, markers.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
import shlex

from amlexec.files import open_regular
from amlexec.light_typing import TYPE_CHECKING
from amlexec.packages.requirement_errors import public_text, unknown_option
from amlexec.packages.requirement_paths import BadLineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "logical",
    "logical_lines",
    "normalised",
    "parts",
    "split_line_options",
    "split_options",
    "without_comment",
]


_VALUED = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
    "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature",
    "-r": "--requirement",
    "--requirement": "--requirement",
    "-c": "--constraint",
    "--constraint": "--constraint",
    "-e": "--editable",
    "--editable": "--editable",
}
_FLAGS = frozenset(["--no-index", "--pre", "--prefer-binary", "--require-hashes"])
_OF_A_LINE = frozenset(["--hash", "--config-settings", "--config-setting", "-C", "--global-option"])
_MAX_BYTES = 1_000_000


def normalised(name: str) -> str:
    """The normalized name of a Python package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def without_comment(line: str) -> str:
    """A line without its comment, by pip's rules; "" if nothing is left."""
    line = line.strip()
    at = line.find("#")
    while at > 0 and not line[at - 1].isspace():
        at = line.find("#", at + 1)
    return line if at < 0 else line[:at].rstrip()


def parts(text: str) -> tuple[str, str, str]:
    """Split `./x.whl[extra] ; marker` into path, extras and marker, with their brackets and semicolon."""
    path, semicolon, marker = text.partition(" ;")
    path = path.strip()
    begin = path.rfind("[") if path.endswith("]") else -1
    if begin < 0 or not re.fullmatch(r"[A-Za-z0-9._, -]*", path[begin + 1 : -1]):
        begin = len(path)
    extras = sorted(normalised(extra.strip()) for extra in path[begin + 1 : -1].split(",") if extra.strip())
    marker = f" ; {marker.strip()}" if semicolon else ""
    return path[:begin], f"[{','.join(extras)}]" if extras else "", marker


def split_line_options(text: str) -> tuple[str, list[str]]:
    """A requirement and the options after it, sorted."""
    found = re.search(r"\s(?=--?[A-Za-z])", text)
    requirement, rest = (text[: found.start()], [text[found.end() :]]) if found else (text, [])
    options = []
    for name, value in split_options(rest[0], _OF_A_LINE) if rest else ():
        options.append(f"{name}={value}")
    return requirement.strip(), sorted(options)


def split_options(text: str, valued: frozenset[str] = frozenset(_VALUED)) -> Iterator[tuple[str, str]]:
    try:
        # Not POSIX mode: backslashes are for Windows paths here.
        words = [word.strip("\"'") for word in shlex.split(text, posix=False)]
    except ValueError as error:
        raise BadLineError(f"{public_text(text)!r} cannot be read: {error}") from None
    at, is_behind = 0, valued is _OF_A_LINE
    while at < len(words):
        name, equals, value = words[at].partition("=")
        at += 1
        if not name.startswith("--") and len(name) > 2 and name[:2] in valued:  # -rFILE
            name, equals, value = name[:2], "=", f"{name[2:]}{equals}{value}"
        if name in _FLAGS and not is_behind and not equals:
            yield name, ""
            continue
        if name not in valued:
            raise unknown_option(
                name, text, sorted({*valued, *(() if is_behind else _FLAGS)}), _VALUED if is_behind else ()
            )
        if not equals:
            if at == len(words):
                raise BadLineError(f"{name} needs a value")
            value = words[at]
            at += 1
        yield _VALUED.get(name, name), value.strip("\"'")


def logical_lines(path: str, shown: str) -> Iterator[tuple[int, int, str]]:
    """Line number, column and text of each line of a requirements file, continuations joined."""
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise BadLineError(f"{shown} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise BadLineError(f"{shown} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    if len(data) > _MAX_BYTES:
        raise BadLineError(f"{shown} is longer than {_MAX_BYTES} bytes")
    yield from logical(text)


def logical(text: str) -> Iterator[tuple[int, int, str]]:
    """Line number, column and text of each line in the text of a requirements file, continuations joined."""
    begin, parts = 0, []
    for number, line in enumerate(_lines(text), 1):
        begin = begin or number
        is_continued = line.endswith("\\") and not line.lstrip().startswith("#")
        parts.append(line[:-1] if is_continued else line)
        if not is_continued:
            yield begin, *_placed("".join(parts))
            begin, parts = 0, []
    if parts:
        yield begin, *_placed("".join(parts))


def _lines(text: str) -> list[str]:
    # Not `splitlines`: a form feed, from an escape, does not end a line.
    return re.split(r"\r\n|\r|\n", text)


def _placed(line: str) -> tuple[int, str]:
    return len(line) - len(line.lstrip()) + 1, line
