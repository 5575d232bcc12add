"""Which registry is used, and its store: `--registry`, else AMLEXEC_MODELS, else the project's own folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from amlexec.models.store import Store
    from amlexec.values import Project

__all__ = ["VARIABLE", "opened", "place_of"]

VARIABLE = "AMLEXEC_MODELS"
"""The environment variable that names another registry than the project's."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def place_of(project: Project | None, given: str | None = None) -> str:
    """The path or URL of the registry: `given`, else AMLEXEC_MODELS, else the project's own.

    Raises:
        UsageError: there is no project, and nothing else names a registry.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        if _URL.match(named):
            return named.rstrip("/") if not named.endswith("://") else named
        return os.path.abspath(os.path.expanduser(named))  # noqa: PTH100, PTH111 - it may not exist
    if project is None:
        raise UsageError(
            "there is no project here, so no registry of models",
            hint=f"change into a project, or name a registry with {VARIABLE} or --registry",
        )
    return f"{project.state}/models"


def opened(project: Project | None, given: str | None = None) -> Store:
    """The registry of a project, or the one that `given` or AMLEXEC_MODELS names. Opens no connection.

    Raises:
        UsageError: the URL is not one that can be used, or there is no project.
    """
    place = place_of(project, given)
    scheme = match[1].lower() if (match := _URL.match(place)) else ""
    from amlexec.models.folder_store import FolderStore

    if not scheme:
        is_own = project is not None and place == f"{project.state}/models"
        return FolderStore(Path(place), is_private=is_own)
    if scheme == "file":
        return FolderStore(_folder(place), is_private=False)
    if scheme == "ssh":
        from amlexec.models.ssh_store import SSHStore

        return SSHStore(place, project)
    from amlexec.models.object_store import ObjectStore

    return ObjectStore(place)


def _folder(url: str) -> Path:
    """The folder of a `file://` URL. Raises UsageError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise UsageError(f"{url!r} is not a folder of this machine", hint="file:///PATH, or the path alone")
    return Path(path)
