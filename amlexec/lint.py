"""Check declarations apart from any run: every file, every violation, each once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec import schemas
from amlexec.errors import ConfigurationError, UsageError
from amlexec.model import ComputeTarget, Place, Project, Violation
from amlexec.reading import generations, readings, references
from amlexec.reading.checks import Checker
from amlexec.reading.document import Document, Scalar, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.reading.generations import Reading

__all__ = [
    "as_github",
    "as_json",
    "as_text",
    "files",
    "lint",
    "lint_files",
    "report",
    "schema_files",
    "summary",
]

# ruff: noqa: PTH100, PTH113, PTH118, PTH119, PTH120, PTH123, PTH208 - thousands of files, as texts

_SUFFIXES = {".compute": schemas.COMPUTE, ".runconfig": schemas.RUNCONFIG}
_KEYS = {
    schemas.CONDA: frozenset(["dependencies", "channels"]),
    schemas.SPARK: frozenset(["configuration", "repositories", "packages"]),
}


def schema_files() -> list[str]:
    """The files of the schemas, absolute: what lint depends on besides the files it checks."""
    return [schemas.path(kind) for kind in schemas.KINDS]


def files(project: Project, *, absent: bool = False) -> list[str]:
    """The project's declarations, sorted, relative to its root: aml_config, and what is referred to."""
    return sorted(_Lint(strict=False).of_project(project, absent=absent))


def lint(project: Project, only: Iterable[str] | None = None, *, strict: bool = False) -> list[Violation]:
    """Every violation in the project's files, sorted; `only` some of them, relative to its root."""
    run = _Lint(strict=strict)
    kinds = run.of_project(project)
    chosen = kinds if only is None else only
    found: set[Violation] = set()
    for file in chosen:
        found.update(run.file(f"{project.root}/{file}", file, kinds.get(file, ""), project))
    return sorted(found)


def lint_files(typed: Sequence[str], *, strict: bool = False) -> list[Violation]:
    """Every violation in these files, sorted; each is named as it was typed.

    Raises:
        UsageError: one of them is not there, or is none of our file kinds.
    """
    run = _Lint(strict=strict)
    found: set[Violation] = set()
    for file in typed:
        shown = file.replace(os.sep, "/").removeprefix("./")
        found.update(run.file(os.path.abspath(file), shown, "", None))
    return sorted(found)


class _Lint:
    """One run over many files: each schema, and each compute target that is referred to, is read once."""

    def __init__(self, *, strict: bool) -> None:
        self._checker = Checker(lint=True, strict=strict)
        self._quiet = Checker()
        self._targets: dict[str, ComputeTarget | None] = {}
        self._projects: dict[str, Project | None] = {}

    def file(self, path: str, shown: str, kind: str, project: Project | None) -> list[Violation]:
        """What is wrong with one file, and with what it refers to."""
        kind = kind or _kind_by_name(path)
        data = _bytes(path, shown)
        try:
            document = read(data, shown)
        except ConfigurationError as error:
            if not kind:
                raise _not_ours(shown) from error
            return list(error.violations)
        kind = kind or _kind_by_keys(document)
        if not kind:
            raise _not_ours(shown)
        checked = self._checker.check(document, kind)
        found = list(checked.violations)
        if kind == schemas.RUNCONFIG:
            project = project or self._project(os.path.dirname(path))
            reading = checked.reading or generations.outline(document.root)
            if project is not None:
                found += self._references(project, shown, reading)
        return found

    def _references(self, project: Project, shown: str, reading: Reading) -> list[Violation]:
        name = reading["runconfig"].get("target", "").removesuffix(".compute")
        target = self._target(project, name) if name else None
        found = references.check(project, shown, reading, target and readings.overridden(target, reading))
        is_own = name == "local" and reading["names"].get("target") == "target"
        if name and not is_own and not references.has_target(project, name):
            found.append(references.no_target(project, shown, reading, name))
        return found

    def _target(self, project: Project, name: str) -> ComputeTarget | None:
        """A compute target whose file is in order; what is wrong with it is said where it is checked."""
        path = f"{project.configuration}/{name}.compute"
        if path not in self._targets:
            self._targets[path] = None
            if references.has_target(project, name):
                try:
                    checked = self._quiet.check(read(_bytes(path, path), path), schemas.COMPUTE)
                except ConfigurationError:
                    return None
                if checked.reading is not None:
                    self._targets[path] = readings.compute_target(name, path, checked.reading["compute"])
        return self._targets[path]

    def _project(self, folder: str) -> Project | None:
        """The project that a folder is in; None if it is in none."""
        if folder not in self._projects:
            from pathlib import Path

            from amlexec import config

            try:
                self._projects[folder] = config.find_project(Path(folder))
            except ConfigurationError:
                self._projects[folder] = None
        return self._projects[folder]

    def of_project(self, project: Project, *, absent: bool = False) -> dict[str, str]:
        """File -> kind, of all declarations of a project. Files with errors keep nobody from the others."""
        kinds: dict[str, str] = {}
        for name in sorted(os.listdir(project.configuration)):
            kind = _kind_by_name(name)
            if kind and os.path.isfile(f"{project.configuration}/{name}"):
                kinds[f"aml_config/{name}"] = kind
        for file in [file for file, kind in kinds.items() if kind == schemas.RUNCONFIG]:
            for other, kind in self._referred(f"{project.root}/{file}"):
                if absent or os.path.isfile(os.path.join(project.root, other)):
                    kinds.setdefault(other, kind)
        return kinds

    def _referred(self, path: str) -> list[tuple[str, str]]:
        try:
            fields = generations.outline(read(_bytes(path, path), path).root)["runconfig"]
        except ConfigurationError:
            return []
        kinds = {"conda_dependencies_file": schemas.CONDA, "spark_dependencies_file": schemas.SPARK}
        return [(readings.normal(fields[field]), kind) for field, kind in kinds.items() if field in fields]


def _kind_by_name(path: str) -> str:
    """The file kind that a name says, or ""."""
    name = os.path.basename(path).casefold()
    stem, dot, end = name.rpartition(".")
    suffix = dot + end
    if suffix in _SUFFIXES and stem:
        return _SUFFIXES[suffix]
    if suffix in {".yml", ".yaml"}:
        return schemas.CONDA if "conda" in stem else schemas.SPARK if "spark" in stem else ""
    return ""


def _kind_by_keys(document: Document) -> str:
    for kind, keys in _KEYS.items():
        if not keys.isdisjoint(document.root.entries):
            is_map = all(not isinstance(entry.value, Scalar) for entry in document.root.entries.values())
            return kind if is_map or kind == schemas.CONDA else ""
    return ""


def _not_ours(shown: str) -> UsageError:
    hint = "lint checks *.compute, *.runconfig, and conda and Spark dependencies files"
    return UsageError(f"{shown} is no file of a project's configuration", hint=hint)


def _bytes(path: str, shown: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise UsageError(f"there is no file {shown}") from None
    except IsADirectoryError:
        hint = "give files, or none to check the project of the current folder"
        raise UsageError(f"{shown} is a folder", hint=hint) from None
    except OSError as error:
        violation = Violation(Place(shown), "error", f"can't be read: {(error.strerror or '').lower()}")
        raise ConfigurationError(violation.message, where=shown, violations=[violation]) from None


def summary(number: int, violations: Iterable[Violation]) -> str:
    """`12 files, 3 errors, 2 warnings`."""
    found = [one.severity for one in violations]
    counts = [(number, "file"), *((found.count(name), name) for name in ("error", "warning", "note"))]
    shown = [(count, name) for count, name in counts if count or name in {"file", "error", "warning"}]
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in shown)


def as_text(violations: Iterable[Violation]) -> list[str]:
    """The lines to print for people."""
    return [line for violation in violations for line in violation.lines()]


def as_json(violations: Iterable[Violation]) -> list[dict[str, str | int]]:
    """One object for each violation; `line` and `column` are 0 where it is about the whole file."""
    return [
        {
            "file": one.place.path,
            "line": one.place.line,
            "column": one.place.column,
            "severity": one.severity,
            "key": one.key,
            "message": one.message,
            "hint": one.hint,
        }
        for one in violations
    ]


def as_github(violations: Iterable[Violation]) -> list[str]:
    """GitHub's workflow commands, which annotate a pull request.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    lines = []
    for one in violations:
        level = {"note": "notice"}.get(one.severity, one.severity)
        numbers = zip(("line", "col"), (one.place.line, one.place.column), strict=True)
        place = [f"file={_escaped(one.place.path, ':,')}", *(f"{name}={at}" for name, at in numbers if at)]
        text = one.message + (f"\nhint: {one.hint}" if one.hint else "")
        lines.append(f"::{level} {','.join(place)}::{_escaped(text)}")
    return lines


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(one):02X}" if one in "%\r\n" + more else one for one in text)


def report(violations: Sequence[Violation]) -> int:
    """Say the violations to people; the exit code: 3 if one of them is an error."""
    from amlexec import console

    for line in as_text(violations):
        console.say(line)
    return exit_code(violations)


def exit_code(violations: Iterable[Violation]) -> int:
    """3 if one of them is an error, else 0."""
    is_wrong = any(one.severity == "error" for one in violations)
    return ConfigurationError.exit_code if is_wrong else 0
