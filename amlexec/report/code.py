"""The code of runs for the page: the files of their snapshots, and the texts of those that differ."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from amlexec import git
from amlexec.errors import AmlexecError
from amlexec.snapshots import store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amlexec.values import Project

__all__ = ["code_of"]

_MOST_FILES = 2_000
"""Files of a snapshot that are compared."""
_LARGEST = 100_000
"""Bytes of a text that is compared line by line."""
_FOLDER, _MODULE = b"40000", b"160000"


class _Objects:
    """One `git cat-file` that gives one object after the other."""

    def __init__(self, project: Project) -> None:
        folder = store.folder_of(project)
        # A snapshot is complete here: what lacks is not fetched from anywhere.
        variables = {"GIT_DIR": str(folder), "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
        self._process = git.start(["cat-file", "--batch"], folder=str(folder), environment=variables)

    def read(self, object_id: str, most: int) -> bytes | None:
        """The content of an object; None if it does not exist or is larger than `most`."""
        writing, reading = self._process.stdin, self._process.stdout
        assert writing is not None
        assert reading is not None
        writing.write(f"{object_id}\n".encode())
        writing.flush()
        answer = reading.readline().split()
        if len(answer) != 3:
            return None
        size = int(answer[2])
        kept = reading.read(min(size, most + 1))
        left = size - len(kept)
        while left > 0 and (passed := reading.read(min(left, 1 << 20))):
            left -= len(passed)
        reading.read(1)
        return kept if size <= most else None

    def close(self) -> None:
        with self._process:
            self._process.kill()


def code_of(project: Project, trees: Iterable[str], most: int) -> dict[str, Any]:
    """The files of these trees, and the texts of files that differ between them, `most` bytes in all.

    `{"trees": {tree: {path: id}}, "texts": {id: text}}`. A tree that can't be read is left out.
    """
    wanted = list(dict.fromkeys(trees))
    if not wanted or not store.folder_of(project).is_dir():
        return {"trees": {}, "texts": {}}
    try:
        objects = _Objects(project)
    except (AmlexecError, OSError):
        return {"trees": {}, "texts": {}}
    try:
        found = {tree: files for tree in wanted if (files := _files(objects, tree)) is not None}
        return {"trees": found, "texts": _texts(objects, list(found.values()), most)}
    except (OSError, ValueError, subprocess.SubprocessError):
        return {"trees": {}, "texts": {}}
    finally:
        objects.close()


def _files(objects: _Objects, tree: str) -> dict[str, str] | None:
    """The files below a tree by their paths, sorted."""
    found: dict[str, str] = {}
    folders = [("", tree)]
    while folders:
        prefix, current = folders.pop()
        content = objects.read(current, 64 << 20)
        if content is None:
            return None
        at = 0
        size = len(tree) // 2
        while at < len(content):
            mode, _, rest = content[at : content.index(b"\0", at)].partition(b" ")
            begin = at + len(mode) + len(rest) + 2
            object_id = content[begin : begin + size].hex()
            at = begin + size
            path = prefix + rest.decode("utf-8", "replace")
            if mode == _FOLDER:
                folders.append((f"{path}/", object_id))
            elif mode != _MODULE:
                found[path] = object_id
            if len(found) > _MOST_FILES:
                return dict(sorted(found.items()))
    return dict(sorted(found.items()))


def _texts(objects: _Objects, trees: Sequence[Mapping[str, str]], most: int) -> dict[str, str]:
    versions: dict[str, dict[str, None]] = {}
    for files in trees:
        for path, object_id in files.items():
            versions.setdefault(path, {})[object_id] = None
    everywhere = {path for path in versions if all(path in files for files in trees)}
    texts: dict[str, str] = {}
    for path, ids in versions.items():
        if path in everywhere and len(ids) == 1:
            continue
        for object_id in ids:
            if object_id in texts:
                continue
            content = objects.read(object_id, _LARGEST)
            if content is None or b"\0" in content or len(content) > most:
                continue
            most -= len(content)
            texts[object_id] = content.decode("utf-8", "replace")
    return texts
