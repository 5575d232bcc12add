"""Check that the files that dependencies refer to exist, by the same rules as `prepare` and `lock`."""

from __future__ import annotations

import os

from amlexec import digest, kinds
from amlexec.config import to_model
from amlexec.errors import ConfigurationError, TargetError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.config.generations import Reading
    from amlexec.values import ComputeTarget, Project

__all__ = ["followed", "lacks_share"]

_SHARE = b"/azureml-share/"


def followed(project: Project, path: str, reading: Reading) -> tuple[list[Violation], tuple[str, ...]]:
    """The violations in the references of a valid file, and the files that they name.

    `path` is how messages name the file. Reads no package.
    """
    found: list[Violation] = []
    files: tuple[str, ...] = ()
    if "conda" in reading:
        dependencies = to_model.conda(path, reading)
        if dependencies.pip:
            from amlexec.packages import requirement_checks

            found, files = requirement_checks.look(
                project.root, dependencies.pip, shared=None, sources=_sources(project, path)
            )
    if reading.get("spark", {}).get("repositories"):
        from amlexec.spark import submit_args

        declared = to_model.spark(path, reading)
        try:
            if submit_args.coordinates(declared):
                submit_args.folders_must_be_there(declared, project.root)
        except ConfigurationError as error:
            found = [*found, Violation(Place(path), "error", error.message, error.hint, "repositories")]
    return found, files


def lacks_share(project: Project, file: str, target: ComputeTarget) -> list[Violation]:
    """Violations: lines that need the shared folder, though the target has none; `file` is absolute."""
    kind = kinds.of(target.kind)
    has_share = kind.on_local_engine and bool(target.native_shared_directory)
    if kind.environment != kinds.IMAGE or target.user_managed_environment or has_share:
        return []
    try:
        with open(file, "rb") as stream:  # noqa: PTH123
            data = stream.read()
    except OSError:
        return []  # a missing file is reported elsewhere
    if _SHARE not in data:
        return []
    from amlexec.config import document, generations
    from amlexec.packages import requirement_checks

    shown = os.path.relpath(file, project.root).replace(os.sep, "/")
    try:
        root = document.read(data, shown).root
    except ConfigurationError:
        return []
    lines = to_model.conda(shown, {"conda": generations.conda(root)}).pip
    lines = tuple(line for line in lines if _SHARE.decode() in line.text)
    return requirement_checks.look(project.root, lines, shared="", sources=_sources(project, shown))[0]


def _sources(project: Project, path: str) -> Callable[[str], list[str]]:
    def files(folder: str) -> list[str]:
        from amlexec.snapshots import sources

        own = [path, f"{os.path.splitext(path)[0]}.lock"]  # noqa: PTH122
        try:
            return sources.files(project.root, folder, own)
        except TargetError:
            # Without git the ignore rules can't be applied; `prepare` reports that.
            return digest.sources(folder)

    return files
