"""The images whose service was deleted, as the project remembers them: `amlexec gc` removes them.

An image that was made, and not deployed yet, is not among them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import private_folders

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.values import Project

__all__ = ["note", "read", "use"]

_ID = re.compile(r"sha256:([0-9a-f]{64})")


def note(project: Project, image_ids: Iterable[str]) -> None:
    """Remember that no service needs these images any more."""
    for image_id in image_ids:
        if match := _ID.fullmatch(image_id):
            private_folders.make(_folder(project))
            (_folder(project) / match[1]).touch(mode=0o600)


def use(project: Project, image_id: str) -> None:
    """An image was made or deployed again."""
    if match := _ID.fullmatch(image_id):
        (_folder(project) / match[1]).unlink(missing_ok=True)


def read(project: Project) -> set[str]:
    """The ids of these images."""
    try:
        return {f"sha256:{path.name}" for path in _folder(project).iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _folder(project: Project) -> Path:
    return Path(project.state, "retired-images")
