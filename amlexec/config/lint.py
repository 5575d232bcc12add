"""LINT: check declarations without a run: all files, all violations, each reported once."""

from __future__ import annotations

import os

from amlexec.config import generations, references, schemas, to_model
from amlexec.config.document import Document, Scalar, read
from amlexec.config.referenced_files import followed, lacks_share
from amlexec.config.schemas import kind_by_name
from amlexec.config.validate import Checker
from amlexec.errors import ConfigurationError, UsageError
from amlexec.files import SMALL, read_regular
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import ComputeTarget, Place, Project, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from amlexec.config.generations import Reading

__all__ = [
    "Linter",
    "as_github",
    "as_json",
    "as_text",
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


def referred(path: str) -> list[tuple[str, str]]:
    """The dependencies files that a run configuration names, relative to the project's root, and kinds."""
    return _Lint(strict=False).referred(path, path)


class Linter:
    """Checks the files of one project, in one call or in many; each file is read once."""

    def __init__(self, project: Project, *, strict: bool = False) -> None:
        self._project = project
        self._run = _Lint(strict=strict)

    def kinds(self) -> dict[str, str]:
        """The project's declarations, relative to its root, with their kinds."""
        return self._run.of_project(self._project)

    def check(self, kinds: Mapping[str, str]) -> list[Violation]:
        """Every violation in these files, sorted; the kind "" means that the content tells the kind."""
        found: set[Violation] = set()
        for file, kind in kinds.items():
            found.update(self._run.file(self._path(file), file, kind, self._project))
        return sorted(found)

    def referred(self, path: str) -> list[tuple[str, str]]:
        """As `referred` of this module; the run configuration is not parsed again when it is checked."""
        return self._run.referred(path, f"{path[len(self._project.root.rstrip('/')) + 1 :]}")

    def looked_at(self, file: str) -> list[str]:
        """The other files that the result for a checked file depends on, absolute; some may not exist."""
        return sorted(self._run.looked.get(self._path(file), ()))

    def _path(self, file: str) -> str:
        # A run configuration can refer to a file outside the project.
        return os.path.join(self._project.root, file)

    def relevant_part(self, path: str) -> str:
        """The values of a file that matter to files that refer to it; "" if all of its content may."""
        name = os.path.basename(path)
        if not name.endswith(".compute"):
            return ""
        target = self._run.target(self._project, name.removesuffix(".compute"))
        return f"{target.kind} {target.user_managed_environment}" if target is not None else ""


def lint_files(typed: Sequence[str], *, strict: bool = False) -> list[Violation]:
    """Every violation in these files, sorted; messages name the files as they were typed.

    Raises:
        UsageError: a file does not exist, or is of no known kind.
    """
    run = _Lint(strict=strict)
    found: set[Violation] = set()
    for file in typed:
        shown = file.replace(os.sep, "/").removeprefix("./")
        found.update(run.file(os.path.abspath(file), shown, "", None))
    return sorted(found)


class _Lint:
    """One run over many files: reads each schema and each referenced compute target once."""

    def __init__(self, *, strict: bool) -> None:
        self._checker = Checker(lint=True, strict=strict)
        self._quiet = Checker()
        self._documents: dict[str, Document] = {}
        """Run configurations that were parsed for their references and not checked yet."""
        self._targets: dict[str, ComputeTarget | None] = {}
        self._projects: dict[str, Project | None] = {}
        self.looked: dict[str, set[str]] = {}
        """For each checked file: the other files that its result depends on, absolute."""

    def file(self, path: str, shown: str, kind: str, project: Project | None) -> list[Violation]:
        """The violations of one file, and of its references."""
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
            wrong = {violation.place for violation in found if violation.severity == "error"}
            found += [violation for violation in more if violation.place not in wrong]
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
        """A compute target, or None if its file has errors; these are reported when it is checked."""
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
        """The project of a folder, or None."""
        if folder not in self._projects:
            from pathlib import Path

            from amlexec.config import load as config

            try:
                self._projects[folder] = config.find_project(Path(folder))
            except ConfigurationError:
                self._projects[folder] = None
        return self._projects[folder]

    def of_project(self, project: Project) -> dict[str, str]:
        """All declarations of a project: file -> kind. Files with errors are included."""
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
        return found + [file for file in beside if file not in found]


def _kind_by_keys(document: Document) -> str:
    for kind, keys in _KEYS.items():
        if not keys.isdisjoint(document.root.entries):
            is_map = all(not isinstance(entry.value, Scalar) for entry in document.root.entries.values())
            return kind if is_map or kind == schemas.CONDA else ""
    return ""


def _not_ours(shown: str) -> UsageError:
    hint = "lint checks *.compute, *.runconfig, and conda and Spark dependencies files"
    return UsageError(f"{shown} is not a configuration file of a project", hint=hint)


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
    severities = [violation.severity for violation in violations]
    counts = [(number, "file"), *((severities.count(name), name) for name in ("error", "warning", "note"))]
    shown = [(count, name) for count, name in counts if count or name in {"file", "error", "warning"}]
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in shown)


def as_text(violations: Iterable[Violation]) -> list[str]:
    """The lines to print for people."""
    return [line for violation in violations for line in violation.lines()]


def as_json(violations: Iterable[Violation]) -> list[dict[str, str | int]]:
    """One object for each violation; `line` and `column` are 0 if it concerns the whole file."""
    return [
        {
            "file": violation.place.path,
            "line": violation.place.line,
            "column": violation.place.column,
            "severity": violation.severity,
            "key": violation.key,
            "message": violation.message,
            "hint": violation.hint,
        }
        for violation in violations
    ]


def as_github(violations: Iterable[Violation]) -> list[str]:
    """GitHub's workflow commands, which annotate a pull request.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    lines = []
    for violation in violations:
        place = violation.place
        level = {"note": "notice"}.get(violation.severity, violation.severity)
        numbers = zip(("line", "col"), (place.line, place.column), strict=True)
        properties = [f"file={_escaped(place.path, ':,')}", *(f"{name}={at}" for name, at in numbers if at)]
        text = violation.message + (f"\nhint: {violation.hint}" if violation.hint else "")
        lines.append(f"::{level} {','.join(properties)}::{_escaped(text)}")
    return lines


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(char):02X}" if char in "%\r\n" + more else char for char in text)


def report(violations: Sequence[Violation]) -> int:
    """Print the violations; returns the exit code: 3 if there is an error, else 0."""
    from amlexec import console

    for line in as_text(violations):
        console.say(line)
    return exit_code(violations)


def exit_code(violations: Iterable[Violation]) -> int:
    """3 if there is an error, else 0."""
    has_errors = any(violation.severity == "error" for violation in violations)
    return ConfigurationError.exit_code if has_errors else 0
