"""Make a folder a project: the files of `templates/`, each written whole or not at all, none replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from amlexec import temporaries
from amlexec.errors import TargetError, UsageError

__all__ = ["Scaffold", "make"]

_TEMPLATES = Path(__file__).parent / "templates"

_FILES = {
    "aml_config/local.compute": "aml_config/local.compute",
    "aml_config/local.runconfig": "aml_config/local.runconfig",
    "aml_config/docker.compute": "aml_config/docker.compute",
    "aml_config/docker.runconfig": "aml_config/docker.runconfig",
    "aml_config/conda_dependencies.yml": "aml_config/conda_dependencies.yml",
    "aml_config/spark_dependencies.yml": "aml_config/spark_dependencies.yml",
    "dodo.py": "dodo.py",
    ".amlignore": "amlignore",
    ".gitignore": "gitignore",
}
"""What a project gets, and its template; those carry no dot, so that no tool takes them for its own."""


class Scaffold(NamedTuple):
    """What `make` did. Paths are relative to the folder, with `/`."""

    folder: Path
    created: tuple[str, ...]
    kept: tuple[str, ...]
    """Were there before, and are as they were."""
    git_rules: bool
    """There is no `.amlignore`, since the `.gitignore` that was kept says what runs do without."""


def make(folder: Path) -> Scaffold:
    """Write every file of a project that `folder` lacks; makes the folder itself too.

    Raises UsageError where a file stands in a folder's place, TargetError where the disk refuses.
    """
    created: list[str] = []
    kept: list[str] = []
    try:
        # An .amlignore takes the place of all .gitignore files: one made beside the user's own rules would
        # let into runs what those keep out.
        has_rules = os.path.lexists(folder / ".gitignore")
        for name, template in _FILES.items():
            if name == ".amlignore" and has_rules and not os.path.lexists(folder / name):
                continue
            path = folder / name
            _make_folder(path.parent)
            new = _write_new(path, (_TEMPLATES / template).read_bytes())
            (created if new else kept).append(name)
        git_rules = has_rules and not os.path.lexists(folder / ".amlignore")
    except OSError as error:
        raise TargetError(
            f"cannot write the project's files: {error.strerror or error}",
            hint="files that were already made are whole; type the command again when this is put right",
            where=str(error.filename or folder),
        ) from error
    return Scaffold(folder, tuple(created), tuple(kept), git_rules)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            "a project needs a folder here, and this is not one",
            hint="name another folder: amlexec init FOLDER",
            where=str(next((path for path in (folder, *folder.parents) if path.exists()), folder)),
        ) from error


def _write_new(path: Path, content: bytes) -> bool:
    """Write `content` where nothing is yet, in one step; False where something is, be it a broken link."""
    if os.path.lexists(path):
        return False
    beside = temporaries.write_beside(path, content, mode=0o666, durable=False)
    try:
        temporaries.publish(beside, path)
    except FileExistsError:
        return False
    finally:
        temporaries.remove(beside)
    return True
