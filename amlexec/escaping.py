"""Text from outside, made harmless for where it is shown: nothing in it can steer a terminal.

A file's name, a record's value, a machine's answer may hold any character. Those that move the cursor, set
the title, hide text or turn its direction round are shown as escapes, such as `\\x1b`.
"""

from __future__ import annotations

import re

__all__ = ["in_json", "on_one_line", "quoted", "visible"]

_LIMIT = 40
"""Of a text that is quoted: letters."""
_STEERING = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for the tab and the end of a line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text round
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # line ends of Unicode's, and what nobody sees
    "]"
)


def visible(text: str) -> str:
    """`text` with what would steer a terminal escaped; tabs and the ends of lines stay. No I/O."""
    return _STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


def on_one_line(text: str) -> str:
    """The same, with line ends escaped too: a name or a value can't pretend to be a line of ours."""
    return visible(text).replace("\n", "\\n")


def quoted(text: str) -> str:
    """A text in quotes, on one line and not too long."""
    first = text.split("\n", 1)[0]
    short = first if first == text and len(text) <= _LIMIT else f"{first[:_LIMIT]}…"
    return "'" + "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in short) + "'"


def in_json(text: str) -> str:
    """A JSON document with such characters in its strings written as `\\uXXXX`: it has the same value."""

    def escaped(match: re.Match[str]) -> str:
        units = match[0].encode("utf-16-be")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))

    return _STEERING.sub(escaped, text)
