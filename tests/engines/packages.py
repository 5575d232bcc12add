"""Conda packages and wheels, written by the standard library alone.

The format: https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html. A `.conda`
file is a zip with two zstd streams in it; zstd may hold blocks that are not compressed, which needs no
library to write and no time to unpack.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["TIME", "Entry", "Package", "subdir", "wheel_package", "write_package", "write_wheel"]

TIME = 1_700_000_000
"""Seconds since 1970: the time of everything that is written here."""
_BLOCK = 1 << 17


class Entry(NamedTuple):
    """A file of a package, or with `link` a symbolic link. `path` is relative to the prefix."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""


class Package(NamedTuple):
    """A conda package. With `prefix`, that text in its files stands for the prefix it is installed at."""

    name: str
    version: str
    build: str
    files: Sequence[Entry] = ()
    depends: Sequence[str] = ()
    noarch: str = ""
    """`python`, `generic`, or "" for a package of this machine's architecture."""
    entry_points: Sequence[str] = ()
    prefix: str = ""


def subdir() -> str:
    """The channel's folder for this machine's architecture."""
    import platform

    names = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le"}
    return names.get(platform.machine(), f"linux-{platform.machine()}")


def write_package(channel: Path, package: Package, kind: str = "tar.bz2") -> Path:
    """Write a package into a channel's folder, as `.tar.bz2` or as `.conda`."""
    folder = "noarch" if package.noarch else subdir()
    path = channel / folder / f"{package.name}-{package.version}-{package.build}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = _about(package, folder)
    if kind == "tar.bz2":
        with tarfile.open(path, "w:bz2", compresslevel=1) as archive:
            _add(archive, [*about, *package.files])
        return path
    with zipfile.ZipFile(path, "w") as outer:
        _store(outer, "metadata.json", b'{"conda_pkg_format_version": 2}')
        stem = path.name.removesuffix(".conda")
        _store(outer, f"pkg-{stem}.tar.zst", _zstd(_tar(package.files)))
        _store(outer, f"info-{stem}.tar.zst", _zstd(_tar(about)))
    return path


def wheel_package(wheel: Path) -> Package:
    """A pure Python wheel as a `noarch: python` package."""
    name, version = wheel.name.split("-")[:2]
    files, entry_points = [], []
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            folder, _, last = item.filename.rpartition("/")
            is_about = folder.endswith(".dist-info")
            if item.is_dir() or (is_about and last == "INSTALLER"):
                continue
            data = archive.read(item)
            files.append(Entry(f"site-packages/{item.filename}", data))
            if is_about and last == "METADATA":
                files.append(Entry(f"site-packages/{folder}/INSTALLER", b"conda\n"))
            if is_about and last == "entry_points.txt":
                entry_points = _scripts(data.decode())
    name = re.sub(r"[-_.]+", "-", name).lower()
    return Package(name, version, "py_0", files, ["python >=3.8"], "python", entry_points)


def write_wheel(folder: Path, name: str, version: str, module: str, requires: Iterable[str] = ()) -> Path:
    """Write a wheel of one module, whose text is `module`, into a folder."""
    stem = name.replace("-", "_")
    about = f"{stem}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        f"{stem}.py": module,
        f"{about}/METADATA": metadata,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_record(text)},{len(text.encode())}\n" for path, text in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n"
    path = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            _store(archive, inside, text.encode())
    return path


def _about(package: Package, folder: str) -> list[Entry]:
    """The package's `info/` folder."""
    index: dict[str, object] = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": list(package.depends),
        "subdir": folder,
        "license": "MIT",
        "timestamp": TIME * 1000,
    }
    if package.noarch:
        index["noarch"] = package.noarch
    paths = {"paths": [_described(entry, package.prefix) for entry in package.files], "paths_version": 1}
    about = [
        Entry("info/index.json", json.dumps(index).encode()),
        Entry("info/paths.json", json.dumps(paths).encode()),
        Entry("info/about.json", b"{}"),
        Entry("info/files", "".join(f"{entry.path}\n" for entry in package.files).encode()),
    ]
    if package.noarch == "python":
        noarch = {"type": "python", "entry_points": list(package.entry_points)}
        link = {"package_metadata_version": 1, "noarch": noarch}
        about.append(Entry("info/link.json", json.dumps(link).encode()))
    return about


def _described(entry: Entry, prefix: str) -> dict[str, object]:
    told: dict[str, object] = {
        "_path": entry.path,
        "path_type": "softlink" if entry.link else "hardlink",
        "sha256": hashlib.sha256(entry.data).hexdigest(),
        "size_in_bytes": len(entry.data),
    }
    if prefix and prefix.encode() in entry.data:
        told["prefix_placeholder"] = prefix
        told["file_mode"] = "binary" if b"\0" in entry.data else "text"
    return told


def _scripts(text: str) -> list[str]:
    """The console scripts of an `entry_points.txt`, as conda writes them: `pip = pip._internal:main`."""
    section = re.search(r"^\[console_scripts\]\n(.*?)(?=^\[|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = section[1].splitlines() if section else []
    return [re.sub(r"\s*=\s*", " = ", line.strip()) for line in lines if "=" in line]


def _add(archive: tarfile.TarFile, entries: Iterable[Entry]) -> None:
    for entry in entries:
        member = tarfile.TarInfo(entry.path)
        member.mode, member.mtime = entry.mode, TIME
        if entry.link:
            member.type, member.linkname = tarfile.SYMTYPE, entry.link
        else:
            member.size = len(entry.data)
        archive.addfile(member, None if entry.link else io.BytesIO(entry.data))


def _tar(entries: Iterable[Entry]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        _add(archive, entries)
    return written.getvalue()


def _zstd(data: bytes) -> bytes:
    """A zstd frame of blocks that are not compressed (RFC 8878, 3.1.1: window of 128 KiB, no checksum)."""
    pieces = [b"\x28\xb5\x2f\xfd", b"\x00\x38"]
    for start in range(0, max(len(data), 1), _BLOCK):
        block = data[start : start + _BLOCK]
        is_last = start + _BLOCK >= len(data)
        pieces += [(len(block) << 3 | is_last).to_bytes(3, "little"), block]
    return b"".join(pieces)


def _store(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    item = zipfile.ZipInfo(name, (2023, 11, 14, 0, 0, 0))
    item.external_attr = 0o644 << 16
    archive.writestr(item, data)


def _record(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
