"""Check that the compute target and the dependencies files of a run configuration exist."""

from __future__ import annotations

import os

from amlexec import kinds
from amlexec.config.to_model import normal
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Place, RunConfiguration, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.config.generations import Reading
    from amlexec.values import ComputeTarget, Project

__all__ = [
    "attach_hint",
    "candidates",
    "check",
    "dependencies_files",
    "has_target",
    "located",
    "names_hint",
    "no_target",
]

_DEFAULTS: dict[str, str] = RunConfiguration._field_defaults
_FILES = {field: _DEFAULTS[field] for field in ("conda_dependencies_file", "spark_dependencies_file")}


def names_hint(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint: the known name that was probably meant, else `otherwise`, else all known names."""
    from amlexec.config.messages import close, either

    names = sorted(known)
    guess = close(name, names)
    if guess:
        return f"did you mean {guess}?"
    return f"use {either(names)}" if names and not otherwise else otherwise


def attach_hint(project: Project, name: str, known: Iterable[str], *, is_camel: bool = False) -> str:
    """A hint for a compute target that does not exist."""
    otherwise = f"write {project.folder}/{name}.compute"
    if is_camel:  # its target was created in the cloud
        attach = f"`amlexec computetarget attach` a machine with -n {name}"
        otherwise = f"run here with -t local, {attach}, or {otherwise}"
    return names_hint(name, known, otherwise)


def has_target(project: Project, name: str) -> bool:
    """Whether there is a `.compute` file of that name."""
    is_name = "/" not in name and "\\" not in name
    return is_name and os.path.isfile(f"{project.configuration}/{name}.compute")  # noqa: PTH113


def no_target(project: Project, path: str, reading: Reading, name: str) -> Violation:
    """The violation for a compute target that does not exist; `path` names the run configuration."""
    known = [file[:-8] for file in os.listdir(project.configuration) if file.endswith(".compute")]  # noqa: PTH208
    key = reading["names"].get("target", "Target")
    place = Place(path, *reading["places"].get("target", ()))
    message = f"{key} is {name!r}, but there is no {project.folder}/{name}.compute"
    hint = attach_hint(project, name, known, is_camel=key == "target")
    return Violation(place, "error", message, hint, key)


def located(project: Project, file: str, reading: Reading) -> Reading:
    """A reading with its dependencies files located: from the project's root, else beside `file`.

    In `.azureml/` the default is the file in that folder. A file that does not exist keeps its name.
    """
    fields = dict(reading["runconfig"])
    for field, default in _FILES.items():
        if field in fields:
            wanted = normal(fields[field])
            beside = os.path.normpath(os.path.join(os.path.dirname(file), wanted))  # noqa: PTH118, PTH120
        elif project.folder == ".azureml" and field.partition("_")[0] not in reading:
            wanted = default
            beside = f"{project.configuration}/{default.rpartition('/')[2]}"
        else:
            continue
        if not os.path.isfile(os.path.join(project.root, wanted)) and os.path.isfile(beside):  # noqa: PTH113, PTH118
            inside = f"{project.root.rstrip('/')}/"
            fields[field] = beside.removeprefix(inside)
    return {**reading, "runconfig": fields}


def candidates(project: Project, file: str, reading: Reading) -> list[str]:
    """Where `located` looks for the dependencies files of a run configuration, absolute."""
    found = []
    for field, default in _FILES.items():
        wanted = normal(reading["runconfig"].get(field, default))
        found += [f"{project.root}/{wanted}", f"{os.path.dirname(file)}/{wanted}"]  # noqa: PTH120
        found += [f"{project.configuration}/{default.rpartition('/')[2]}"]
    return [os.path.normpath(path) for path in found]


def dependencies_files(project: Project, reading: Reading) -> list[str]:
    """The dependencies files of a run configuration, absolute; they need not exist."""
    fields = reading["runconfig"]
    named = [normal(fields.get(field, default)) for field, default in _FILES.items()]
    return [os.path.join(project.root, file) for file in named]  # noqa: PTH118


def check(project: Project, path: str, reading: Reading, target: ComputeTarget | None) -> list[Violation]:
    """Violations for missing dependencies files.

    `path` is how messages name the run configuration's file; `target` is None if it is unknown: then the
    default file may be needed or not.
    """
    fields = reading["runconfig"]
    violations: list[Violation] = []
    wanted = ["conda_dependencies_file"]
    if fields.get("framework", "").casefold() == "pyspark":
        wanted.append("spark_dependencies_file")
    for field in wanted:
        file = normal(fields.get(field, _DEFAULTS[field]))
        is_default = file == _DEFAULTS[field]
        is_inline = field.partition("_")[0] in reading and field not in fields
        if is_inline or os.path.isfile(os.path.join(project.root, file)):  # noqa: PTH113, PTH118
            continue
        if is_default and (field not in fields or field[0] == "c") and not _needed(field, target):
            continue
        name = reading["names"][field]
        place = Place(path, *reading["places"].get(field, ()))
        if field in fields:
            message = f"{name} is {file!r}, but there is no such file in the project"
            hint = _file_hint(project, file)
        else:
            message = f"{name} is not set, but there is no {file}"
            yours = target.key("userManagedEnvironment") if target else "userManagedEnvironment"
            where = "in the compute target" if yours == "userManagedEnvironment" else "here"
            hint = f"write that file, or '{yours}: true' {where}"
        violations.append(Violation(place, "error", message, hint, name))
    return violations


def _needed(field: str, target: ComputeTarget | None) -> bool:
    if field[0] == "s" or target is None:
        return False
    return bool(kinds.of(target.kind).environment) and not target.user_managed_environment


def _file_hint(project: Project, file: str) -> str:
    from amlexec.config.messages import close, shown

    folder = os.path.dirname(file)  # noqa: PTH120
    try:
        beside = os.listdir(os.path.join(project.root, folder))  # noqa: PTH118, PTH208
    except (OSError, ValueError):  # ValueError: the name has a NUL
        return f"there is no folder {shown(folder)[1:-1]}"

    known = [f"{folder}/{name}".lstrip("/") for name in beside if name.endswith((".yml", ".yaml"))]
    guess = close(file, known)
    return f"did you mean {guess}?" if guess else "the path is relative to the project's root"
