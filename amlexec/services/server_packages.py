"""uvicorn and what it needs, for the server of a service: fixed versions, from the user's package index.

They are pure Python, so one folder serves every platform. It is the last on the path of a service: versions
that its environment has come first.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages import uv
from amlexec.packages.network import cache_folder, settings

if TYPE_CHECKING:
    from amlexec.packages.network import Network

__all__ = ["OLDEST_PYTHON", "folder", "pins"]

OLDEST_PYTHON = (3, 8)
_NEWER_PYTHON = (3, 10)
_PINS = """\
click==8.5.1 --hash=sha256:8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37
h11==0.16.0 --hash=sha256:63cf8bbe7522de3bf65932fda1d9c2772064ffb3dae62d55932da54b31cb6c86
typing-extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8
uvicorn==0.54.0 --hash=sha256:505bdb0f318731d45f1f712071fc781a8981f6847a31c902c9f5e652d4f67faf
"""
_PINS_OF_OLD_PYTHONS = """\
click==8.1.8 --hash=sha256:63c132bbbed01578a06712a2d1f497bb62d9c1c0d329b7903a866228027263b2
h11==0.16.0 --hash=sha256:63cf8bbe7522de3bf65932fda1d9c2772064ffb3dae62d55932da54b31cb6c86
typing-extensions==4.13.2 --hash=sha256:a439e7c04b49fec3e5d3e2beaa21755cadbbdc391694e28ccdd36ca4a1408f8c
uvicorn==0.33.0 --hash=sha256:2c30de4aeea83661a520abab179b24084a0019c0c1bbe137e5409f741cbde5f8
"""


def pins(python: str) -> str:
    """The requirements for that version of Python.

    Raises:
        ConfigurationError: it is too old for a service.
    """
    major, minor = (int(part) for part in python.split(".")[:2])
    if (major, minor) < OLDEST_PYTHON:
        raise ConfigurationError(
            f"the environment has Python {python}, and a service needs 3.8 or later",
            hint="write a newer Python into conda_dependencies.yml, and train the model with it",
        )
    return _PINS if (major, minor) >= _NEWER_PYTHON else _PINS_OF_OLD_PYTHONS


def folder(python: str) -> Path:
    """The folder with them for that version of Python; fetched if it is not in the cache.

    Raises:
        ConfigurationError: Python is too old.
        TargetError: the packages can't be fetched.
    """
    from amlexec.digest import of_bytes

    wanted = pins(python)
    place = cache_folder() / "serving" / of_bytes(wanted.encode())[:20]
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    from tempfile import mkdtemp

    beside = Path(mkdtemp(prefix="new-", dir=place.parent))
    try:
        _install(beside, wanted, settings())
        try:
            (beside / "packages").rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _install(beside: Path, wanted: str, network: Network) -> None:
    from amlexec.packages.pip_resolve import indexes

    (beside / "requirements.txt").write_text("\n".join([*indexes([], network), wanted]), "utf-8")
    (beside / "requirements.txt").chmod(0o600)
    target = beside / "packages"
    import sys

    command = [
        *("pip", "install", "--requirements", "requirements.txt", "--require-hashes"),
        *("--target", str(target), "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"),
        # The wheels are the same for all Pythons that the pins are for.
        *("--python", sys.executable, "--python-version", "3.10" if wanted is _PINS else "3.8"),
        *(word for host in network.trusted_hosts for word in ("--allow-insecure-host", host)),
    ]
    done = uv.run(command, beside, network, cache_folder())
    if done.returncode != 0:
        from amlexec.packages.urls import hidden

        lines = hidden(done.stderr, network.addresses).strip().splitlines()
        reason = lines[-1].strip() if lines else "uv failed"
        raise TargetError(
            f"uvicorn, which a service needs, can't be fetched: {reason}",
            hint="the index of pip's settings (PIP_INDEX_URL) must have these: "
            + ", ".join(line.split()[0] for line in wanted.splitlines()),
        )
    for name in ("bin", ".lock"):
        extra = target / name
        shutil.rmtree(extra) if extra.is_dir() else extra.unlink(missing_ok=True)
    for path in target.glob("*.dist-info/*"):
        if path.name in {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}:
            path.unlink()
