"""The note of a run: `note.txt` in its folder, the words of a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.files import read_regular, write_atomically
from amlexec.history import index_changes

if TYPE_CHECKING:
    from amlexec.history.paths import RunPaths

__all__ = ["LONGEST", "read", "write"]

LONGEST = 64 * 1024
"""In bytes."""


def read(paths: RunPaths) -> str:
    """The note of a run; "" if it has none.

    Raises:
        OSError: the file can't be read, or is not a regular file of at most `LONGEST`.
    """
    try:
        content = read_regular(paths.note, LONGEST, follow=False)
    except FileNotFoundError:
        return ""
    return content.decode("utf-8", "surrogateescape").rstrip("\n")


def write(paths: RunPaths, text: str) -> None:
    """Replace the note of a run; "" removes it. Raises OSError."""
    if text:
        write_atomically(paths.note, text.rstrip("\n") + "\n")
    else:
        paths.note.unlink(missing_ok=True)
    index_changes.note(paths)
