"""The outputs of a run by name, size and hash: enough to compare another run with them."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec import checked_values as checked
from amlexec.digest import of_file
from amlexec.file_trees import walk
from amlexec.files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths

__all__ = ["FILE", "LINK", "NAME", "Output", "hash_of", "hashed", "listed", "parsed", "read", "text_of"]

FILE, LINK = "file", "link"
NAME = "outputs.json"
"""In a run's folder, if its outputs themselves are on another computer."""
_LARGEST = 64 << 20
_HASH = re.compile(r"[0-9a-f]{64}")


class Output(NamedTuple):
    """A file or a link in `outputs`."""

    form: str
    """FILE or LINK."""
    size: int
    """In bytes."""
    content: str = ""
    """The destination of a link, or the sha256 of a file; "" if it was not read."""


def listed(folder: Path) -> dict[str, Output]:
    """The files and links below a folder of outputs, by their paths. Reads no file.

    Raises:
        OSError: a folder can't be read.
    """
    found: dict[str, Output] = {}
    if not os.path.lexists(folder):
        return found
    for each in walk(folder):
        for entry in each.others:
            name = f"{each.path}/{entry.name}" if each.path else entry.name
            if entry.is_symlink():
                target = os.readlink(entry.name, dir_fd=each.descriptor)
                found[name] = Output(LINK, len(os.fsencode(target)), target)
            else:
                found[name] = Output(FILE, entry.stat(follow_symlinks=False).st_size)
    return found


def hash_of(path: Path) -> str:
    """The sha256 of a file. Raises OSError."""
    return of_file(str(path))


def hashed(folder: Path) -> dict[str, Output]:
    """The same with the hashes of files. Raises OSError."""
    return {
        name: output if output.form == LINK else output._replace(content=hash_of(folder / name))
        for name, output in sorted(listed(folder).items())
    }


def text_of(outputs: dict[str, Output]) -> str:
    """A list of outputs as JSON."""
    return json.dumps({name: output._asdict() for name, output in outputs.items()}, indent=2) + "\n"


def parsed(text: str) -> dict[str, Output]:
    """Parse such a list.

    Raises:
        ValueError: it is not such a list, or a part of it is invalid.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check = checked.map_of(
        checked.parts(Output, form=checked.text, size=checked.number(0, 1 << 62), content=checked.text)
    )
    found: dict[str, Output] = check(values)
    for name, output in found.items():
        parts = name.split("/")
        if name.startswith("/") or any(part in {"", ".", ".."} for part in parts) or "\0" in name:
            raise ValueError(f"{name[:80]!r} is not the path of an output")
        if output.form not in {FILE, LINK}:
            raise ValueError(f"{name[:80]!r} is neither a file nor a link")
        if output.form == FILE and not _HASH.fullmatch(output.content):
            raise ValueError(f"{name[:80]!r} has no sha256")
    return found


def read(paths: RunPaths) -> dict[str, Output] | None:
    """The list in a run's folder; None if it has none, or the list is damaged."""
    try:
        return parsed(read_regular(paths.folder / NAME, _LARGEST, follow=False).decode())
    except (OSError, ValueError):
        return None
