"""Copy the files of a version into a folder of the user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec import temporaries
from amlexec.errors import TargetError, UsageError
from amlexec.file_trees import remove_tree
from amlexec.models.folder_store import copy_files

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.models.listing import Model
    from amlexec.models.registry import Registry

__all__ = ["into"]


def into(folder: Path, model: Model, registry: Registry) -> Path:
    """Copy the files to `folder`, which is made if missing; the path of the model's file or folder in it.

    It appears whole, and replaces nothing.

    Raises:
        UsageError: there is a file or folder of that name.
        TargetError: the files are not those that were registered, or can't be copied.
    """
    content = model.version.content
    target = folder / content.root
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", hint="name another folder with -d")
    source = registry.path(model)
    beside = folder / f".new.{temporaries.owner()}-{os.urandom(4).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        copy_files(content, source, beside)
        if os.path.lexists(target):
            raise UsageError(f"{target} exists already", hint="name another folder with -d")
        (beside / content.root).rename(target)
    except OSError as error:
        raise TargetError(
            f"the model can't be copied: {error.strerror}", where=str(error.filename or folder)
        ) from error
    finally:
        remove_tree(beside)
    return target
