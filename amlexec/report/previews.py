"""Previews of a run's outputs: images, tables and texts, within a budget of bytes."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.file_trees import walk
from amlexec.files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths

__all__ = ["Budget", "previews"]

_MOST_FILES = 200
"""Files of a run that are listed."""
_MOST_ROWS, _MOST_COLUMNS, _LONGEST_CELL = 50, 30, 200
_LARGEST_TABLE = 1 << 20
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


class Budget:
    """Bytes that previews may still take, of one run and of all."""

    def __init__(self, *, log: int, image: int, text: int, total: int) -> None:
        self.log, self.image, self.text, self._left = log, image, text, total

    def take(self, size: int) -> bool:
        """Whether there is room for this many bytes, which are then taken."""
        if size > self._left:
            return False
        self._left -= size
        return True


class _Output(NamedTuple):
    name: str
    size: int


def previews(paths: RunPaths, budget: Budget) -> dict[str, Any]:
    """The files of a run's outputs, with previews of those that there is room for."""
    found: list[_Output] = []
    more = 0
    problems: list[str] = []
    for output in _outputs(paths.outputs, problems):
        if len(found) < _MOST_FILES:
            found.append(output)
        else:
            more += 1
    files = [
        {"path": each.name, "size": each.size, **_preview(paths.outputs, each, budget)} for each in found
    ]
    return {"files": files, "more": more, "problems": problems}


def _outputs(folder: Path, problems: list[str]) -> list[_Output]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    found = []
    for inside in walk(folder, lambda error: problems.append(error.strerror or "a folder can't be read")):
        prefix = f"{inside.path}/" if inside.path else ""
        found += [
            _Output(prefix + entry.name, entry.stat(follow_symlinks=False).st_size)
            for entry in inside.others
            if entry.is_file(follow_symlinks=False)
        ]
    return sorted(found)


def _preview(folder: Path, output: _Output, budget: Budget) -> dict[str, Any]:
    path = folder / output.name
    suffix = path.suffix.lower()
    try:
        if suffix in {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg"}:
            return _image(path, output.size, budget)
        if suffix in _SEPARATORS:
            return _table(path, output.size, _SEPARATORS[suffix], budget)
        return _text(path, budget)
    except OSError as error:
        return {"why": error.strerror or "it can't be read"}


def _image(path: Path, size: int, budget: Budget) -> dict[str, Any]:
    if size > budget.image:
        return {"why": "too large for a preview"}
    data = read_regular(path, budget.image, follow=False)
    kind = next((kind for begin, kind in _IMAGES.items() if data.startswith(begin)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    if kind is None and path.suffix.lower() == ".svg":
        kind = "image/svg+xml"  # in an <img>, a browser runs no script of it and loads nothing
    if kind is None:
        return {"why": "not an image"}
    if not budget.take(len(data)):
        return {"why": "left out: the page has enough previews"}
    return {"image": f"data:{kind};base64,{base64.b64encode(data).decode()}"}


def _table(path: Path, size: int, separator: str, budget: Budget) -> dict[str, Any]:
    if size > _LARGEST_TABLE:
        return _text(path, budget)
    text = read_regular(path, _LARGEST_TABLE, follow=False).decode("utf-8", "replace")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error:
        return _text(path, budget)
    shown = [[cell[:_LONGEST_CELL] for cell in line[:_MOST_COLUMNS]] for line in rows[: _MOST_ROWS + 1]]
    if not budget.take(len(json.dumps(shown))):
        return {"why": "left out: the page has enough previews"}
    wide = max(map(len, rows), default=0)
    return {"table": shown, "rows": max(0, len(rows) - 1), "columns": wide}


def _text(path: Path, budget: Budget) -> dict[str, Any]:
    from amlexec.files import open_regular

    with open_regular(path, follow=False) as file:
        data = file.read(budget.text + 1)
    begin = data[: budget.text]
    if b"\0" in begin:
        return {"why": "not a text"}
    try:
        text = begin.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(begin) - 3:
            return {"why": "not a text"}
        text = begin[: error.start].decode("utf-8")  # cut within a character
    if not budget.take(len(begin)):
        return {"why": "left out: the page has enough previews"}
    return {"text": text, "cut": len(data) > budget.text}
