"""Escape text from outside, so that it can't control a terminal.

File names, values of records and answers of machines may hold any character. Those that move the cursor, set
the title, hide text or reverse its direction become escapes, such as `\\x1b`.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["OutputFilter", "in_json", "on_one_line", "quoted", "visible"]

_LIMIT = 40
"""In characters, of a quoted text."""
_CONTROL = (
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # characters that change the direction of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line separators, invisible characters
    "]"
)
"""Compiled for the first text that may have one."""


def visible(text: str) -> str:
    """`text` with control characters escaped; tabs and newlines stay. No I/O."""
    if text.replace("\n", "").isprintable():  # then it has none of them
        return text
    return re.sub(_CONTROL, lambda match: ascii(match[0])[1:-1], text)


def on_one_line(text: str) -> str:
    """The same, with newlines escaped too, so that a name or value can't imitate a message."""
    return visible(text).replace("\n", "\\n")


def quoted(text: str) -> str:
    """A text in quotes, on one line and shortened."""
    first = text.split("\n", 1)[0]
    short = first if first == text and len(text) <= _LIMIT else f"{first[:_LIMIT]}…"
    return "'" + "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in short) + "'"


def in_json(text: str) -> str:
    """A JSON document with such characters written as `\\uXXXX`; its value is the same."""

    def escaped(match: re.Match[str]) -> str:
        units = match[0].encode("utf-16-be")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))

    return re.sub(_CONTROL, escaped, text)


# Compiled by the first `OutputFilter`
_COLOUR = r"\x1b\[[0-9;:]{0,60}[mK]"
_IN_OUTPUT = f"({_COLOUR})|[\x00-\x07\x0b-\x0c\x0e-\x1f\x7f-\x9f\udc80-\udc9f]"
_BEGUN = r"\x1b(?:\[[0-9;:]{0,60})?\Z"


class OutputFilter:
    """What a script prints, for a terminal, piece by piece.

    Colours, the erasing of a line's rest, returns and backspaces stay: progress bars need them. What sets a
    title or the clipboard, moves the cursor elsewhere or asks the terminal something becomes an escape.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._rest = ""
        """The beginning of an escape sequence that may be a colour."""

    def feed(self, piece: bytes, *, is_last: bool = False) -> bytes:
        """The next piece, as far as it is certain; with `is_last`, all that is left."""
        text = self._rest + self._decoder.decode(piece, is_last)
        begun = None if is_last else re.search(_BEGUN, text)
        self._rest = begun[0] if begun else ""
        shown = re.sub(_IN_OUTPUT, _shown, text[: begun.start()] if begun else text)
        return shown.encode("utf-8", "surrogateescape")


def _shown(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    code = ord(match[0])
    return f"\\x{code - 0xDC00 if code > 0xDC00 else code:02x}"
