"""The models of a service: files, folders, or versions of a registry, where scoring scripts look for them.

AZUREML_MODEL_DIR is the folder NAME/VERSION of the only model, or, of several, the folder above them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.models.listing import Model
    from amlexec.values import Project

__all__ = ["ServedModel", "found", "lay_out", "model_dir"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class ServedModel(NamedTuple):
    """A model that a service has."""

    name: str
    version: int
    path: Path
    """The file or folder itself."""
    digest: str = ""
    """Of its files; "" if it is not registered."""
    environment: str = ""
    """The digest of the environment that made it; "" if unknown."""
    model: Model | None = None
    """The version of the registry; None if it is not registered."""


def found(
    project: Project | None, given: Sequence[str], registry: str | None = None
) -> tuple[ServedModel, ...]:
    """The models that a command line names. NAME:VERSION, or what is no path, is one of the registry.

    Raises:
        UsageError: there is none of that name, or two have the same name.
        TargetError: the registry's files are not those that were registered.
    """
    served = [_found(project, text, registry) for text in given]
    names = [one.name for one in served]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models have the name {name}", hint="rename one of the files")
    return tuple(served)


def _found(project: Project | None, text: str, place: str | None) -> ServedModel:
    path = Path(text).expanduser()
    if path.exists():
        path = path.absolute()
        name = path.stem if path.is_file() else path.name
        if not _NAME.fullmatch(name):
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("-._")[:100] or "model"
        return ServedModel(name, 1, path)
    if "/" in text or "\\" in text:
        raise UsageError(f"there is no file or folder {text}")
    from amlexec.models import registry

    opened = registry.opened(project, place)
    model = opened.find(text)
    version = model.version
    run = version.origin.run
    digest = (run.environment_digest if run else None) or ""
    return ServedModel(
        version.name,
        version.version,
        opened.path(model),
        version.content.digest,
        digest.removeprefix("sha256:"),
        model,
    )


def lay_out(served: Sequence[ServedModel], folder: Path) -> None:
    """Put links to the models into a folder: NAME/VERSION/FILE."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in served:
        place = folder / one.name / str(one.version)
        place.mkdir(parents=True)
        (place / one.path.name).symlink_to(one.path)


def copy(served: Sequence[ServedModel], folder: Path) -> None:
    """Copy the models into a folder, in the same way. Links within them are followed."""
    for one in served:
        place = folder / one.name / str(one.version)
        place.mkdir(parents=True)
        if one.path.is_dir():
            shutil.copytree(one.path, place / one.path.name)
        else:
            shutil.copy2(one.path, place / one.path.name)


def model_dir(root: str, served: Sequence[ServedModel]) -> str:
    """The value of AZUREML_MODEL_DIR; "" without models."""
    if not served:
        return ""
    return f"{root}/{served[0].name}/{served[0].version}" if len(served) == 1 else root
