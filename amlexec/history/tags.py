"""Tags of a run: `tags.jsonl` in its folder, one JSON line for each change, only ever appended to.

    {"name": "best", "value": "", "time": 1521077190.506}

`value` is text; null removes the tag. The last line of a name counts, whatever its time. Scripts may append
lines too. A change is one append, so processes can tag the same run at the same time.
"""

from __future__ import annotations

import json
import os
import time

from amlexec.files import open_regular, open_to_append, read_regular
from amlexec.history import index_changes
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.history.paths import RunPaths

__all__ = ["LONGEST_NAME", "LONGEST_VALUE", "change", "merged", "read"]

LONGEST_NAME = 250
"""In characters."""
LONGEST_VALUE = 5000
"""In characters."""
_LARGEST = 16 << 20
_MOST = 1000
"""Tags of a run."""


def read(paths: RunPaths) -> dict[str, str]:
    """The tags of a run, in the order in which they were first set. Lines that are not tags are passed over.

    Raises:
        OSError: the file can't be read, or is not a regular file of at most 16 MB.
    """
    try:
        return merged({}, read_regular(paths.tags, _LARGEST, follow=False))
    except FileNotFoundError:
        return {}


def merged(tags: Mapping[str, str], lines: bytes) -> dict[str, str]:
    """`tags` after the changes in `lines`."""
    tags = dict(tags)
    for line in lines.split(b"\n"):
        try:
            change = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(change, dict) or "value" not in change:
            continue
        name, value = change.get("name"), change["value"]
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            continue
        if value is None:
            tags.pop(name, None)
        elif (text := _text(value)) is not None and (name in tags or len(tags) < _MOST):
            tags[name] = text
    return tags


def _text(value: object) -> str | None:
    if isinstance(value, (bool, int, float)):
        value = json.dumps(value)
    return value if isinstance(value, str) and len(value) <= LONGEST_VALUE else None


def change(paths: RunPaths, changes: Mapping[str, str | None]) -> None:
    """Set tags, or, where the value is None, remove them, in one append.

    Raises:
        OSError: they can't be written.
    """
    now = time.time()
    lines = "".join(
        json.dumps({"name": name, "value": value, "time": now}) + "\n" for name, value in changes.items()
    )
    descriptor = open_to_append(paths.tags)
    try:
        # A write that was cut short, on a full disk, has no newline: the next line must not continue it.
        start = "\n" if _is_torn(paths) else ""
        content = (start + lines).encode("ascii")
        if os.write(descriptor, content) < len(content):
            raise OSError("The disk is full")
    finally:
        os.close(descriptor)
    index_changes.note(paths)


def _is_torn(paths: RunPaths) -> bool:
    with open_regular(paths.tags, follow=False) as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
