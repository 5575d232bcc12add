"""An S3 server (moto), s3fs and adlfs from PyPI, in a folder of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from . import recipe_folder, tools
from .places import state

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WHAT", "is_there", "ready", "remove", "serve", "site_packages"]

WHAT = "an S3 server, s3fs and adlfs"
_WANTED = ("moto[s3,server]==5.2.5", "s3fs==2026.9.0", "adlfs==2026.8.0")
_NEWEST = "2026-11-29"
"""Of what they need: later versions are not taken."""
_START_TIMEOUT_S = 360


def site_packages() -> str:
    """The folder with s3fs and adlfs, for a `sys.path` of the same Python."""
    (found,) = _folder().glob("lib/python*/site-packages")
    return str(found)


def is_there() -> bool:
    """Whether they are there, made by this recipe for this Python."""
    return recipe_folder.is_there(_folder(), _recipe())


def ready() -> None:
    """Fetch them anew. Raises ToolError."""
    print("fetching moto, s3fs and adlfs")
    uv = [sys.executable, "-m", "uv"]
    install = [*uv, "pip", "install", "--quiet", "--python", _python(), "--exclude-newer", _NEWEST]
    with recipe_folder.filled(_folder(), _recipe) as folder:
        tools.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], "making a venv")
        tools.run([*install, "--compile-bytecode", *_WANTED], "fetching moto, s3fs and adlfs")


def remove() -> None:
    """Remove their folder."""
    recipe_folder.remove(_folder())


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """An empty S3 server on the loopback; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "moto.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [_python(), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(f"{address}/moto-api/", timeout=_START_TIMEOUT_S).close()
            except OSError:
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < deadline, log.read_text("utf-8")
                time.sleep(0.1)
            else:
                break
        yield address
    finally:
        process.kill()
        process.wait()


def _python() -> str:
    return str(_folder() / "bin/python")


def _folder() -> Path:
    return state() / "object-store"


def _recipe() -> str:
    return recipe_folder.recipe(__file__, more=f"{state()} {sys.version}")
