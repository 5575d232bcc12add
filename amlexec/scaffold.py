"""Make a project in a folder: write the files of `templates/`, each atomically, and replace none."""

from __future__ import annotations

import os
from pathlib import Path

from amlexec import temporaries
from amlexec.errors import TargetError, UsageError
from amlexec.light_typing import NamedTuple

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
"""The files of a project, and their templates; without a dot in front, so that tools ignore them."""


class Scaffold(NamedTuple):
    """The result of `make`. Paths are relative to the folder, with `/`."""

    folder: Path
    created: tuple[str, ...]
    kept: tuple[str, ...]
    """Existed before, and are unchanged."""
    git_rules: bool
    """No `.amlignore` was made, because the existing `.gitignore` has the ignore rules of runs."""


def make(folder: Path) -> Scaffold:
    """Write every missing file of a project in `folder`; makes the folder if needed.

    Raises UsageError if a file is in the place of a folder, TargetError if the disk can't be written.
    """
    created: list[str] = []
    kept: list[str] = []
    try:
        # An .amlignore replaces all .gitignore files: made beside the user's own rules, it would let ignored
        # files into runs.
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
            hint="files that were already made are complete; fix this and run the command again",
            where=str(error.filename or folder),
        ) from error
    return Scaffold(folder, tuple(created), tuple(kept), git_rules)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            "a project needs a folder here, but this is not one",
            hint="name another folder: amlexec init FOLDER",
            where=str(next((path for path in (folder, *folder.parents) if path.exists()), folder)),
        ) from error


def _write_new(path: Path, content: bytes) -> bool:
    """Write `content` to a new file, atomically; False if the path exists, even as a broken link."""
    if os.path.lexists(path):
        return False
    return temporaries.write_new(path, content, mode=0o666, durable=False)
