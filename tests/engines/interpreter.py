"""The Python that runs this, as a conda package that works at any prefix.

Whoever built it: with a shared library or without, pyenv's, python.org's or Debian's.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from .packages import TIME, Entry, Package
from .tools import MissingError, ToolError

__all__ = ["compiled", "executable", "extension_modules", "package", "version"]

# conda's own: so long that every real prefix is shorter.
_PLACEHOLDER = "/opt/" + "placehold_" * 24
# Each environment of the tests is copied a few times, so no file is in it that no test needs.
_LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|site-packages|dist-packages|test|tests|idle_test|idlelib|tkinter|turtledemo"
    r"|lib2to3|distutils|ensurepip|pydoc_data|config-[^/]*)(/|$)"
    r"|(^|/)(EXTERNALLY-MANAGED|sitecustomize\.py|turtle\.py|[^/]*\.(a|exe))$"
    r"|^lib-dynload/(_tkinter|_?xx|_test|_codecs_|_ctypes_test|ossaudiodev|audioop|nis|spwd)[^/]*$"
    r"|^encodings/(cp(?!437|1252)|mac_|iso(?!8859_1[.]|8859_15)|koi8|euc_|big5|gb|shift_|johab|hz|hp_|kz|palm"
    r"|ptcp|tis|uhc)[^/]*$"
)
# Python finds its prefix by the first, and conda writes the prefix into the second.
_AS_FILE = re.compile(r"os\.py$|_sysconfigdata|site-packages|venv/|(?!.*\.py$)")
# Debian's Python installs elsewhere than everybody's. This makes it everybody's again; where it looks for
# what is installed is frozen into the program, and so that folder leads to the right one.
_DEBIAN = ("sysconfig.py", "sysconfig/__init__.py")
_SCHEMES = (b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")


def version() -> str:
    """The interpreter's version as conda writes it."""
    return platform.python_version().rstrip("+")


def executable() -> Path:
    """The interpreter itself, not a virtual environment's link to it. Raises MissingError."""
    path = Path(sys.base_prefix) / "bin" / f"python{_minor()}"
    if not path.is_file():
        raise MissingError(f"no conda channel: this Python has no {path}; use CPython from Debian or pyenv")
    return path.resolve()


def extension_modules() -> list[Path]:
    """The standard library's modules that are shared objects."""
    return sorted(
        path
        for path in _library().glob("lib-dynload/*.so")
        if not _LEFT_OUT.search(f"lib-dynload/{path.name}")
    )


def package() -> Package:
    """The `python` package. Raises MissingError, ToolError."""
    files = [Entry(f"bin/python{_minor()}", _relocated(executable(), "$ORIGIN/../lib"), 0o755)]
    files += [Entry(f"bin/{name}", link=f"python{_minor()}", mode=0o777) for name in ("python", "python3")]
    files += [*_shared_library(), *_standard_library()]
    # An empty folder is not in a package, and this one must be there for the others to go into.
    files.append(Entry(f"lib/python{_minor()}/site-packages/README.txt", b"Packages go here.\n"))
    if "deb_system" in sysconfig.get_scheme_names():
        files.append(Entry(f"lib/python{_minor()}/dist-packages", link="site-packages", mode=0o777))
    return Package("python", version(), "0_cpython", files, ["__glibc >=2.17"], prefix=_PLACEHOLDER)


def _minor() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _standard_library() -> list[Entry]:
    """The standard library: modules compiled in one archive, where Python looks first, and the rest as files.

    Each build copies, compares and removes every file of an environment a few times; these would be most.
    """
    source, files, archived = _library(), [], []
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source).as_posix()
        if path.is_dir() or _LEFT_OUT.search(inside):
            continue
        target = f"{sys.platlibdir}/python{_minor()}/{inside}"
        mode = 0o755 if os.access(path, os.X_OK) else 0o644
        if path.is_symlink() and path.parent == path.resolve().parent:
            files.append(Entry(target, link=str(path.readlink()), mode=0o777))
        elif path.suffix == ".so":
            files.append(Entry(target, _relocated(path, "$ORIGIN/../.."), 0o755))
        else:
            entry = Entry(target, _adapted(inside, path.read_bytes()), mode)
            module = compiled(entry) if not _AS_FILE.match(inside) else []
            archived += [(f"{inside}c", one.data) for one in module]
            files += [] if module else [entry]
    return [*files, Entry(f"lib/python{_minor().replace('.', '')}.zip", _archive(archived))]


def _archive(modules: list[tuple[str, bytes]]) -> bytes:
    """A zip archive without compression, to be read as fast as files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in modules:
            archive.writestr(zipfile.ZipInfo(name, (2023, 11, 14, 0, 0, 0)), data)
    return written.getvalue()


def compiled(entry: Entry) -> list[Entry]:
    """The compiled module, as every conda package of Python has it: without it, each start compiles anew."""
    if not entry.path.endswith(".py"):
        return []
    try:
        code = compile(entry.data, entry.path, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return []
    header = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, TIME, len(entry.data))
    return [Entry(importlib.util.cache_from_source(entry.path), header + marshal.dumps(code))]


def _adapted(inside: str, data: bytes) -> bytes:
    """A module of the standard library, with the prefix in it open and with everybody's folders."""
    if inside.startswith("_sysconfigdata"):
        return data.replace(b"'" + sys.base_prefix.encode(), b"'" + _PLACEHOLDER.encode())
    return data.replace(*_SCHEMES) if inside in _DEBIAN else data


def _shared_library() -> list[Entry]:
    name, folder = sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LIBDIR")
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") or not Path(folder, name).exists():
        return []  # or, as Debian does, built in although there is a shared one too
    return [Entry(f"lib/{name}", _relocated(Path(folder, name), "$ORIGIN"), 0o755)]


def _stripped(path: Path) -> bytes:
    """A program or library without symbols for debuggers, where binutils are installed: half of the size."""
    if (strip := shutil.which("strip")) is None:
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder, path.name)
        done = subprocess.run([strip, "--strip-unneeded", "-o", smaller, path], capture_output=True)
        return smaller.read_bytes() if done.returncode == 0 else path.read_bytes()


def _relocated(path: Path, runpath: str) -> bytes:
    """A program or library that looks for Python's own library beside itself, wherever that is.

    The folder of the build stands in the file as a text that ends with a zero; a shorter one fits in.
    """
    data = _stripped(path)
    was, becomes = sysconfig.get_config_var("LIBDIR").encode() + b"\0", runpath.encode() + b"\0"
    if was not in data or not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return data
    if len(becomes) > len(was):
        raise ToolError(f"{path} can't be moved: {was[:-1].decode()} is shorter than {runpath}")
    return data.replace(was, becomes.ljust(len(was), b"\0"))
