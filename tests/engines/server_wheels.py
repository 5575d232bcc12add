"""The wheels of a service's server, from the index: those that amlexec installs into its images."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from amlexec.services import server_packages

from . import tools
from .places import state

__all__ = ["folder", "is_there", "ready", "remove"]

_PYTHONS = ("3.12", "3.8")


def folder() -> Path:
    """The folder, for PIP_FIND_LINKS."""
    return state() / "server-wheels"


def is_there() -> bool:
    """Whether it has all of them."""
    try:
        return (folder() / "recipe.txt").read_text("utf-8") == _recipe()
    except FileNotFoundError:
        return False


def ready() -> None:
    """Fetch them. Raises ToolError."""
    new = folder().with_name(f"{folder().name}.new-{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    print("fetching the wheels of a service's server")
    try:
        for python in _PYTHONS:
            wanted = new / "requirements.txt"
            wanted.write_text(server_packages.pins(python), "utf-8")
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
            more = ["--retries", "5", "--python-version", python, "--require-hashes", "--dest", str(new)]
            tools.run([*pip, *more, "--requirement", str(wanted)], "fetching uvicorn")
            wanted.unlink()
        (new / "recipe.txt").write_text(_recipe(), "utf-8")
        shutil.rmtree(folder(), ignore_errors=True)
        new.rename(folder())
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove() -> None:
    """Remove the folder."""
    shutil.rmtree(folder(), ignore_errors=True)


def _recipe() -> str:
    return "".join(server_packages.pins(python) for python in _PYTHONS)
