"""The wheels of a service's server, from the index: those that amlexec installs into its images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from amlexec.services import server_packages

from . import recipe_folder, tools
from .places import state

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["folder", "is_there", "ready", "remove"]

_PYTHONS = ("3.12", "3.8")


def folder() -> Path:
    """The folder, for PIP_FIND_LINKS."""
    return state() / "server-wheels"


def is_there() -> bool:
    """Whether it has all of them."""
    return recipe_folder.is_there(folder(), _recipe())


def ready() -> None:
    """Fetch them. Raises ToolError."""
    print("fetching the wheels of a service's server")
    with recipe_folder.replaced(folder(), _recipe) as new:
        for python in _PYTHONS:
            wanted = new / "requirements.txt"
            wanted.write_text(server_packages.pins(python), "utf-8")
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
            more = ["--retries", "5", "--python-version", python, "--require-hashes", "--dest", str(new)]
            tools.run([*pip, *more, "--requirement", str(wanted)], "fetching uvicorn")
            wanted.unlink()


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(folder())


def _recipe() -> str:
    return recipe_folder.recipe(more="".join(server_packages.pins(python) for python in _PYTHONS))
