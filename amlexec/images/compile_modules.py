"""Compile all modules of an environment, so that no run has to: its user can't write in the image.

The environment's own Python (3.5 or later) executes the text of this file:

    python -I -c TEXT PREFIX EPOCH [NAME ...]

With names of conda packages (`six-1.17.0-py_0`), only theirs: the others are in layers below. Changing what a
layer below has would copy it into this one; so the program ends with the exit code SHARED, without compiling
anything, if one of these packages has a file in the place of a file of the others.

All files of a layer have the time EPOCH. A compiled module of a package contains the time of its source, so
Python would compile it again in every run. Its code is kept under a header that Python does not compare with
the source; this also makes the layer reproducible. Python 3.6 and earlier know no such header: what they
compile contains EPOCH.
"""

import importlib.util
import json
import os
import py_compile
import struct
import sys
from pathlib import Path

__all__ = ["SHARED", "compile_added", "compile_all"]

SHARED = 10
_CLOBBERED = "__clobber-from-"
"""rattler renames files that another package has too: it appends this and the name of their package."""
_UNCHECKED = 1
"""The flags of a header with a hash of the source, which Python does not check. Source: PEP 552."""
_HEADER_SIZE = 16


def compile_all(prefix: str, epoch: int) -> None:
    """Compile the modules of the environment at `prefix`; all compiled modules get the time `epoch`."""
    for library in sorted(Path(prefix, "lib").glob("python3*")):
        for source in sorted(library.rglob("*.py")):
            if source.is_file():
                _compile(source)
    for at, _, files in os.walk(prefix):
        for name in files:
            if name.endswith(".pyc"):
                os.utime(str(Path(at, name)), (epoch, epoch))
        os.utime(at, (epoch, epoch))


def compile_added(prefix: str, epoch: int, names: "list[str]") -> str:
    """Compile the modules of these packages only; times as in `compile_all`.

    Returns "", or the path of a file that is also in another package: then nothing was done.
    """
    added, others = [], set()
    for record in Path(prefix, "conda-meta").glob("*.json"):
        files = _files(record)
        if record.name[: -len(".json")] in names:
            added += files
        else:
            others.update(files)
    shared = _shared(added, others)
    if shared:
        return shared
    folders = {"", "conda-meta"}
    compiled = [name for name in added if name.endswith(".pyc")]
    for name in sorted(added):
        at = os.path.dirname(name)  # noqa: PTH120 - a hundred thousand names
        if name.startswith("lib/python3") and name.endswith(".py") and Path(prefix, name).is_file():
            _compile(Path(prefix, name))
            compiled.append(importlib.util.cache_from_source(name))
            at = os.path.dirname(compiled[-1])  # noqa: PTH120
        while at not in folders:
            folders.add(at)
            at = os.path.dirname(at)  # noqa: PTH120
    for name in [*compiled, *folders]:
        path = Path(prefix, name)
        if path.exists() and path.stat().st_mtime != epoch:
            os.utime(str(path), (epoch, epoch))
    return ""


def _files(record: Path) -> "list[str]":
    """The names of a package's files in the prefix, as it names them itself."""
    found = json.loads(record.read_text("utf-8"))
    return [str(name).partition(_CLOBBERED)[0] for name in found["files"]]


def _shared(added: "list[str]", others: "set[str]") -> str:
    """A name in both, or one that is a file in one and a folder in the other; "" if there is none."""
    folders = _folders(others)
    for name in added:
        if name in others or name in folders:
            return name
    return next(iter(_folders(added) & others), "")


def _folders(names: "list[str] | set[str]") -> "set[str]":
    found = set()
    for name in names:
        at = os.path.dirname(name)  # noqa: PTH120
        while at and at not in found:
            found.add(at)
            at = os.path.dirname(at)  # noqa: PTH120
    return found


def _compile(source: Path) -> None:
    mode = getattr(py_compile, "PycInvalidationMode", None)
    try:
        if mode is None:
            py_compile.compile(str(source), doraise=True)
        elif not _reuse(source):
            py_compile.compile(str(source), doraise=True, invalidation_mode=mode.UNCHECKED_HASH)
    except py_compile.PyCompileError:
        pass  # such as templates and broken examples, which some packages contain


def _reuse(source: Path) -> bool:
    """Change the header of a compiled module; False if it is of another Python or of another source."""
    compiled = Path(importlib.util.cache_from_source(str(source)))
    try:
        content = compiled.read_bytes()
    except OSError:
        return False
    if len(content) <= _HEADER_SIZE or content[:4] != importlib.util.MAGIC_NUMBER:
        return False
    flags, _, size = struct.unpack("<III", content[4:_HEADER_SIZE])
    text = source.read_bytes()
    header = content[:4] + struct.pack("<I", _UNCHECKED) + importlib.util.source_hash(text)
    if flags == _UNCHECKED:
        return content[:_HEADER_SIZE] == header
    if flags != 0 or size != len(text) & 0xFFFFFFFF:
        return False
    compiled.unlink()  # it may be a hard link to the file in the package cache
    compiled.write_bytes(header + content[_HEADER_SIZE:])
    return True


if __name__ == "__main__":
    if sys.argv[3:]:
        shared = compile_added(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
        if shared:
            print(shared)
            sys.exit(SHARED)
        sys.exit()
    compile_all(sys.argv[1], int(sys.argv[2]))
