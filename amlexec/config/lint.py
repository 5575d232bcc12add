"""Check declarations apart from any run: every file, every violation, each once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.config import generations, references, schemas, to_model
from amlexec.config.document import Document, Scalar, read
from amlexec.config.referenced_files import followed, lacks_share
from amlexec.config.schemas import kind_by_name
from amlexec.config.validate import Checker
from amlexec.errors import ConfigurationError, UsageError
from amlexec.files import SMALL, read_regular
from amlexec.model import ComputeTarget, Place, Project, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amlexec.config.generations import Reading

__all__ = [
    "Linter",
    "as_github",
    "as_json",
    "as_text",
    "files",
    "lint",
    "lint_files",
    "referred",
    "report",
    "summary",
]

# ruff: noqa: PTH100, PTH113, PTH118, PTH119, PTH120, PTH208 - thousands of files, as texts

_KEYS = {
    schemas.CONDA: frozenset(["dependencies", "channels"]),
    schemas.SPARK: frozenset(["configuration", "repositories", "packages"]),
}


def files(project: Project) -> list[str]:
    """The project's declarations, sorted, relative to its root: aml_config, and what is referred to."""
    return sorted(_Lint(strict=False).of_project(project))


def referred(path: str) -> list[tuple[str, str]]:
    """The dependencies files that a run configuration names, relative to the project's root, and kinds."""
    return _Lint(strict=False).referred(path, path)


def lint(project: Project, only: Iterable[str] | None = None, *, strict: bool = False) -> list[Violation]:
    """Every violation in the project's files, sorted; `only` some of them, relative to its root."""
    linter = Linter(project, strict=strict)
    kinds = linter.kinds()
    return linter.check(kinds if only is None else {file: kinds.get(file, "") for file in only})


class Linter:
    """Checks the files of one project, in one call or in many; each file is read once."""

    def __init__(self, project: Project, *, strict: bool = False) -> None:
        self._project = project
        self._run = _Lint(strict=strict)

    def kinds(self) -> dict[str, str]:
        """The project's declarations, relative to its root, with their kinds."""
        return self._run.of_project(self._project)

    def check(self, kinds: Mapping[str, str]) -> list[Violation]:
        """Every violation in these files, sorted; the kind of a file is "" where only its content says it."""
        found: set[Violation] = set()
        for file, kind in kinds.items():
            found.update(self._run.file(self._path(file), file, kind, self._project))
        return sorted(found)

    def referred(self, path: str) -> list[tuple[str, str]]:
        """What `referred` says; the run configuration is not read again when it is checked."""
        return self._run.referred(path, f"{path[len(self._project.root.rstrip('/')) + 1 :]}")

    def looked_at(self, file: str) -> list[str]:
        """The other files that the verdict on a checked file follows from, absolute; there or not."""
        return sorted(self._run.looked.get(self._path(file), ()))

    def _path(self, file: str) -> str:
        # A run configuration can name a file anywhere.
        return os.path.join(self._project.root, file)

    def told_by(self, path: str) -> str:
        """What of a file counts where another one refers to it; "" where everything may."""
        name = os.path.basename(path)
        if not name.endswith(".compute"):
            return ""
        target = self._run.target(self._project, name.removesuffix(".compute"))
        return f"{target.kind} {target.user_managed_environment}" if target is not None else ""


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
        self._documents: dict[str, Document] = {}
        """Run configurations that were read to see what they refer to, and not checked yet."""
        self._targets: dict[str, ComputeTarget | None] = {}
        self._projects: dict[str, Project | None] = {}
        self.looked: dict[str, set[str]] = {}
        """By file that was checked: the other files that its verdict follows from, absolute."""

    def file(self, path: str, shown: str, kind: str, project: Project | None) -> list[Violation]:
        """What is wrong with one file, and with what it refers to."""
        kind = kind or kind_by_name(path)
        self.looked[path] = set()
        document = self._documents.pop(path, None)
        if document is None:
            data = _bytes(path, shown)
            try:
                document = read(data, shown, lenient=True)
            except ConfigurationError as error:
                if not kind:
                    raise _not_ours(shown) from error
                return list(error.violations)
        kind = kind or _kind_by_keys(document)
        if not kind:
            raise _not_ours(shown)
        checked = self._checker.check(document, kind)
        found = list(checked.violations)
        project = project or (self._project(os.path.dirname(path)) if kind != schemas.COMPUTE else None)
        if project is None:
            return found
        if kind == schemas.RUNCONFIG:
            reading = checked.reading or generations.outline(document.root)
            reading = references.located(project, path, reading)
            found += self._references(project, shown, reading, self.looked[path])
        declared = checked.reading
        if declared is None and kind == schemas.CONDA:
            declared = {"conda": generations.conda(document.root)}
        if declared is not None:
            more, looked = followed(project, shown, declared)
            wrong = {one.place for one in found if one.severity == "error"}
            found += [one for one in more if one.place not in wrong]
            self.looked[path].update(looked)
        return found

    def _references(
        self, project: Project, shown: str, reading: Reading, looked: set[str]
    ) -> list[Violation]:
        name = reading["runconfig"].get("target", "").removesuffix(".compute")
        looked.add(f"{project.configuration}/{name}.compute")
        looked.update(references.dependencies_files(project, reading))
        target = self.target(project, name) if name else None
        meant = target and to_model.overridden(target, reading, shown)
        found = references.check(project, shown, reading, meant)
        is_own = name == "local" and reading["names"].get("target") == "target"
        if name and not is_own and not references.has_target(project, name):
            found.append(references.no_target(project, shown, reading, name))
        if meant is not None and "conda" not in reading:
            file = references.dependencies_files(project, reading)[0]
            found += lacks_share(project, file, meant)
        return found

    def target(self, project: Project, name: str) -> ComputeTarget | None:
        """A compute target whose file is in order; what is wrong with it is said where it is checked."""
        path = f"{project.configuration}/{name}.compute"
        if path not in self._targets:
            self._targets[path] = None
            if references.has_target(project, name):
                try:
                    checked = self._quiet.check(read(_bytes(path, path), path, lenient=True), schemas.COMPUTE)
                except ConfigurationError:
                    return None
                if checked.reading is not None:
                    self._targets[path] = to_model.compute_target(name, path, checked.reading["compute"])
        return self._targets[path]

    def _project(self, folder: str) -> Project | None:
        """The project that a folder is in; None if it is in none."""
        if folder not in self._projects:
            from pathlib import Path

            from amlexec.config import load as config

            try:
                self._projects[folder] = config.find_project(Path(folder))
            except ConfigurationError:
                self._projects[folder] = None
        return self._projects[folder]

    def of_project(self, project: Project) -> dict[str, str]:
        """File -> kind, of all declarations of a project. Files with errors keep nobody from the others."""
        kinds: dict[str, str] = {}
        for name in sorted(os.listdir(project.configuration)):
            kind = kind_by_name(f"{project.configuration}/{name}")
            if kind and os.path.isfile(f"{project.configuration}/{name}"):
                kinds[f"{project.folder}/{name}"] = kind
        for file in [file for file, kind in kinds.items() if kind == schemas.RUNCONFIG]:
            path = f"{project.root}/{file}"
            for other, kind in self.referred(path, file):
                if os.path.isfile(os.path.join(project.root, other)):
                    kinds.setdefault(other, kind)
        return kinds

    def referred(self, path: str, shown: str) -> list[tuple[str, str]]:
        """The dependencies files that a run configuration names, with their kinds."""
        try:
            document = read(_bytes(path, shown), shown, lenient=True)
        except ConfigurationError:
            return []
        self._documents[path] = document
        fields = generations.outline(document.root)["runconfig"]
        kinds = {"conda_dependencies_file": schemas.CONDA, "spark_dependencies_file": schemas.SPARK}
        found = [(to_model.normal(fields[field]), kind) for field, kind in kinds.items() if field in fields]
        folder = os.path.basename(os.path.dirname(path))
        # From the project's root, or beside the run configuration.
        beside = [(os.path.normpath(os.path.join(folder, file)), kind) for file, kind in found]
        return found + [one for one in beside if one not in found]


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
        return read_regular(path, SMALL << 2)
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
