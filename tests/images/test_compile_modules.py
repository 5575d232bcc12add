"""The modules of an environment are compiled once, and stay valid."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from amlexec.images import compile_modules

_EPOCH = 1_500_000_000


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The folder of the modules in an environment's prefix."""
    folder = tmp_path / "env/lib/python3.11"
    folder.mkdir(parents=True)
    return folder


def _module(path: Path, text: str, *, compiled_from: str = "") -> Path:
    """Write a module, and with `compiled_from` a compiled one as in a package; the path of that one."""
    path.parent.mkdir(exist_ok=True)
    compiled = Path(importlib.util.cache_from_source(str(path)))
    if compiled_from:
        path.write_text(compiled_from)
        py_compile.compile(str(path), doraise=True)
    path.write_text(text)
    os.utime(path, (_EPOCH, _EPOCH))
    return compiled


def _compile(library: Path, *names: str, code: int = 0) -> str:
    """As in an environment: its Python executes the text of the module. What it prints."""
    text = Path(compile_modules.__file__).read_text("utf-8")
    prefix = str(library.parent.parent)
    command = [sys.executable, "-I", "-c", text, prefix, str(_EPOCH), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout


def _imported(library: Path, name: str) -> tuple[str, bool]:
    """VALUE of a module, and whether Python compiled it again for that."""
    program = f"import sys; sys.path.insert(0, {str(library)!r}); import {name}; print({name}.VALUE)"
    done = subprocess.run(
        [sys.executable, "-v", "-B", "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.strip(), f"code object from {str(library / name) + '.py'!r}" in done.stderr


def _flags(compiled: Path) -> int:
    (flags,) = struct.unpack("<I", compiled.read_bytes()[4:8])
    return int(flags)


def test_modules_with_and_without_a_compiled_one(library: Path) -> None:
    new = _module(library / "new.py", "VALUE = 1")
    nested = _module(library / "site-packages/nested.py", "VALUE = 2", compiled_from="VALUE = 2")
    _compile(library)
    assert _flags(new) == _flags(nested) == 1
    assert new.stat().st_mtime == nested.stat().st_mtime == library.stat().st_mtime == _EPOCH
    assert _imported(library, "new") == ("1", False)
    assert _imported(library / "site-packages", "nested") == ("2", False)


def test_the_code_of_a_package_is_kept(library: Path) -> None:
    compiled = _module(library / "kept.py", "VALUE = 2", compiled_from="VALUE = 1")
    code = compiled.read_bytes()[16:]
    _compile(library)
    assert compiled.read_bytes()[16:] == code


def test_what_is_compiled_already_is_kept(library: Path) -> None:
    same = _module(library / "same.py", "VALUE = 1")
    edited = _module(library / "edited.py", "VALUE = 1")
    _compile(library)
    before = same.stat().st_ino
    (library / "edited.py").write_text("VALUE = 2")
    _compile(library)
    assert same.stat().st_ino == before
    assert _imported(library, "edited") == ("2", False)
    assert _flags(edited) == 1


def test_a_compiled_module_of_another_source_or_python_is_replaced(library: Path) -> None:
    longer = _module(library / "longer.py", "VALUE = 11111", compiled_from="VALUE = 1")
    foreign = _module(library / "foreign.py", "VALUE = 2", compiled_from="VALUE = 1")
    foreign.write_bytes(b"\0\0\r\n" + foreign.read_bytes()[4:])
    torn = _module(library / "torn.py", "VALUE = 3")
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(importlib.util.MAGIC_NUMBER)
    _compile(library)
    assert _flags(longer) == 1
    assert _imported(library, "longer") == ("11111", False)
    assert _imported(library, "foreign") == ("2", False)
    assert _imported(library, "torn") == ("3", False)


def test_a_module_with_an_error_and_a_dangling_link_are_left_out(library: Path) -> None:
    broken = _module(library / "broken.py", "print 'Python 2'")
    (library / "dangling.py").symlink_to("nowhere.py")
    good = _module(library / "good.py", "VALUE = 1")
    _compile(library)
    assert not broken.exists()
    assert good.exists()


def test_the_package_cache_is_left_alone(library: Path, tmp_path: Path) -> None:
    compiled = _module(library / "linked.py", "VALUE = 1", compiled_from="VALUE = 1")
    cached = tmp_path / "cached.pyc"
    os.link(compiled, cached)
    before = cached.read_bytes()
    _compile(library)
    assert _flags(compiled) == 1
    assert cached.read_bytes() == before


def _package(library: Path, name: str, *files: str) -> None:
    """The record of a package in a prefix."""
    prefix = library.parent.parent
    (prefix / "conda-meta").mkdir(exist_ok=True)
    (prefix / f"conda-meta/{name}.json").write_text(json.dumps({"files": files}))
    for path in (prefix / "conda-meta", *(prefix / name for name in files)):
        if path.exists():
            os.utime(path, (_EPOCH, _EPOCH))


def _times(prefix: Path) -> set[int]:
    return {path.stat().st_mtime_ns for path in [prefix, *prefix.rglob("*")]}


def test_files_of_layers_below_are_left_alone(library: Path) -> None:
    prefix = library.parent.parent
    below = _module(library / "below.py", "VALUE = 1")
    _package(library, "python-3-0", "lib/python3.11/below.py", "lib/python3.11/below.py__clobber-from-python")
    _compile(library)
    os.utime(below, (_EPOCH + 1, _EPOCH + 1))
    before = below.stat()
    above = _module(library / "site-packages/above.py", "VALUE = 2")
    shipped = _module(library / "shipped.py", "VALUE = 3", compiled_from="VALUE = 3")
    named = ["site-packages/above.py", "shipped.py", f"__pycache__/{shipped.name}", "lost.pyc"]
    _package(library, "above-1-0", *(f"lib/python3.11/{name}" for name in named))
    assert _compile(library, "above-1-0") == ""
    assert _flags(above) == _flags(shipped) == 1
    assert below.stat() == before
    os.utime(below, (_EPOCH, _EPOCH))
    for path in prefix.glob("conda-meta/*"):
        os.utime(path, (_EPOCH, _EPOCH))
    assert _times(prefix) == {_EPOCH * 10**9}


@pytest.mark.parametrize(
    "name",
    [
        "lib/python3.11/this.py",
        "lib/python3.11/this.py__clobber-from-above",
        "lib/python3.11",
        "lib/python3.11/this.py/inside",
    ],
)
def test_a_file_in_the_place_of_one_below_is_named(library: Path, name: str) -> None:
    compiled = _module(library / "this.py", "VALUE = 1")
    _package(library, "python-3-0", "lib/python3.11/this.py")
    _package(library, "above-1-0", "bin/above", name)
    found = _compile(library, "above-1-0", code=compile_modules.SHARED)
    assert name.startswith(found.strip())
    assert found.startswith("lib/python3.11")
    assert not compiled.exists()
