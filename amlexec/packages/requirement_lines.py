"""The syntax of the lines of a pip section: continuations, comments, options, extras, markers.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from amlexec.files import open_regular
from amlexec.packages.addresses import public
from amlexec.packages.paths_in_lines import BadLineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "logical_lines",
    "normalised",
    "parts",
    "public_text",
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
_COMMENT = re.compile(r"(^|\s+)#.*$")
_MAX_BYTES = 1_000_000


def normalised(name: str) -> str:
    """A Python package's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def without_comment(line: str) -> str:
    """A line as pip reads it; "" where nothing is left."""
    return _COMMENT.sub("", line).strip()


def public_text(text: str) -> str:
    """A line without the secrets in its addresses."""
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", lambda match: public(match[0]), text)


def parts(text: str) -> tuple[str, str, str]:
    """`./x.whl[extra] ; marker` as path, extras and marker, each with its sign."""
    path, semicolon, marker = text.partition(" ;")
    match = re.fullmatch(r"(.*?)(\[[A-Za-z0-9._, -]*\])?", path.strip(), re.DOTALL)
    assert match is not None
    extras = sorted(normalised(one.strip()) for one in (match[2] or "[]")[1:-1].split(",") if one.strip())
    return match[1], f"[{','.join(extras)}]" if extras else "", f" ; {marker.strip()}" if semicolon else ""


def split_line_options(text: str) -> tuple[str, list[str]]:
    """A requirement and the options behind it, sorted."""
    requirement, *rest = re.split(r"\s+(?=-{1,2}[A-Za-z])", text, maxsplit=1)
    options = []
    for name, value in split_options(rest[0], _OF_A_LINE) if rest else ():
        options.append(f"{name}={value}")
    return requirement.strip(), sorted(options)


def split_options(text: str, valued: frozenset[str] = frozenset(_VALUED)) -> Iterator[tuple[str, str]]:
    try:
        # Not in POSIX mode's way with backslashes: they are Windows paths here.
        words = [word.strip("\"'") for word in shlex.split(text, posix=False)]
    except ValueError as error:
        raise BadLineError(f"{public_text(text)!r} cannot be read: {error}") from None
    at = 0
    while at < len(words):
        name, equals, value = words[at].partition("=")
        at += 1
        if not name.startswith("--") and len(name) > 2 and name[:2] in valued:  # -rFILE
            name, equals, value = name[:2], "=", f"{name[2:]}{equals}{value}"
        if name in _FLAGS and valued is not _OF_A_LINE and not equals:
            yield name, ""
            continue
        if name not in valued:
            raise _unknown(name, text, valued)
        if not equals:
            if at == len(words):
                raise BadLineError(f"{name} needs a value")
            value = words[at]
            at += 1
        yield _VALUED.get(name, name), value.strip("\"'")


def _unknown(word: str, text: str, valued: frozenset[str]) -> BadLineError:
    if not word.startswith("-"):
        return BadLineError(
            f"{public_text(word)!r} stands behind an option in {public_text(text)!r}",
            "write the requirement as an entry of its own",
        )
    from difflib import get_close_matches

    known = sorted({*valued, *(() if valued is _OF_A_LINE else _FLAGS)})
    guess = get_close_matches(word, known, 1)
    hint = (
        f"did you mean {guess[0]}?"
        if guess
        else f"known are {', '.join(one for one in known if one[1] == '-')}"
    )
    return BadLineError(f"{word} is no option that pip takes in a requirements file", hint)


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
    begin, joined = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        begin = begin or number
        if line.endswith("\\") and not _COMMENT.match(line):
            joined += line[:-1]
            continue
        joined += line
        yield begin, len(joined) - len(joined.lstrip()) + 1, joined
        begin, joined = 0, ""
    if joined:
        yield begin, len(joined) - len(joined.lstrip()) + 1, joined
