"""Images of machines, made of Debian's packages by a recipe, and made anew when it changes."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.docker import images
from amlexec.errors import TargetError

from . import tools
from .choice import machines

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_there", "make", "recipe", "remove"]

_LABEL = "amlexec-test.recipe"


def recipe(*files: str | None, more: str = "") -> str:
    """The digest of these modules' files, of this one, and of a text."""
    contents = [Path(file or "").read_bytes() for file in (*files, __file__)]
    return hashlib.sha256(b"".join([*contents, more.encode()])).hexdigest()


def is_there(reference: str, made_by: str) -> bool:
    """Whether the engine answers and has the image, made by this recipe."""
    try:
        image = images.inspect(machines(), reference)
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == made_by


def make(reference: str, made_by: str, what: str, command: Callable[[Path, Path], list[str]]) -> None:
    """Make the image of `what` anew. Raises ToolError.

    `command` writes its root file system into an archive; it gets the archive's path, and a scratch folder.
    """
    print(f"making {what}, of Debian's packages")
    with tempfile.TemporaryDirectory(dir=tools.roomy()) as folder:
        archive = Path(folder, "root.tar")
        tools.run(command(archive, Path(folder)), f"making the root file system of {what}")
        changes = ["ENV LANG=C.UTF-8", f"LABEL {_LABEL}={made_by}"]
        try:
            with archive.open("rb") as file:
                images.import_root(machines(), file, reference, changes=changes)
        except TargetError as error:
            raise tools.ToolError("\n".join(error.lines())) from None


def remove(reference: str) -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    try:
        machines().version()
    except TargetError:
        return
    images.remove(machines(), reference)
