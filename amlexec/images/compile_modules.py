"""Compile all modules of an environment, so that no run has to: its user can't write in the image.

The environment's own Python (3.5 or later) executes the text of this file:

    python -I -c TEXT PREFIX EPOCH

All files of a layer have the time EPOCH. A compiled module of a package contains the time of its source, so
Python would compile it again in every run. Its code is kept under a header that Python does not compare with
the source; this also makes the layer reproducible. Python 3.6 and earlier know no such header: what they
compile contains EPOCH.
"""

import importlib.util
import os
import py_compile
import struct
import sys
from pathlib import Path

__all__ = ["compile_all"]

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
    compile_all(sys.argv[1], int(sys.argv[2]))
