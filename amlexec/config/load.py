"""READ: find a project and load what its files declare.

Paths in messages are relative to the project's root, with `/`; a path outside the project is absolute. They
don't depend on the current folder, so records and logs of one project are comparable. (`amlexec lint FILE`
shows a file as it was typed, as compilers do.)
"""

from __future__ import annotations

import os

from amlexec.config import cache, references, schemas, to_model
from amlexec.errors import ConfigurationError, UsageError
from amlexec.files import SMALL, read_regular
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.values import Declaration, Place, Project, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import NoReturn

    from amlexec.config.generations import Reading
    from amlexec.config.validate import Checker
    from amlexec.dependencies import CondaDependencies, SparkDependencies
    from amlexec.search.section import SweepSection
    from amlexec.values import ComputeTarget, RunConfiguration

__all__ = [
    "Outline",
    "compute_targets",
    "find_project",
    "find_spark",
    "load",
    "load_conda",
    "load_spark",
    "load_sweep",
    "load_target",
    "outline",
    "run_configurations",
]

# ruff: noqa: PTH100, PTH112, PTH113, PTH118, PTH119, PTH120, PTH208 - pathlib costs a run 3 ms


def find_project(start: Path | str) -> Project:
    """The project of `start`: the nearest folder, from there upwards, that has an `aml_config/`.

    Later versions of azureml-core keep run configurations in `.azureml/`: used if there is no `aml_config/`.

    Raises:
        ConfigurationError: no such folder.
    """
    folder = os.path.realpath(start)
    looked = []
    while True:
        if os.path.isdir(f"{folder}/aml_config"):
            return Project(folder)
        if os.path.isdir(f"{folder}/.azureml") and schemas.run_configuration_files(f"{folder}/.azureml"):
            return Project(folder, ".azureml")
        looked.append(folder)
        above = os.path.dirname(folder)
        if above == folder:
            break
        folder = above
    raise ConfigurationError(
        f"there is no aml_config folder here or above; looked in {', '.join(looked)}",
        hint="`amlexec init` makes one",
    )


def run_configurations(project: Project) -> tuple[str, ...]:
    """The names of the project's run configurations, sorted."""
    return tuple(sorted(schemas.run_configuration_files(project.configuration)))


def compute_targets(project: Project) -> tuple[str, ...]:
    """The names of the project's compute targets, sorted."""
    files, suffix = os.listdir(project.configuration), ".compute"
    return tuple(sorted(name[: -len(suffix)] for name in files if name.endswith(suffix) and name != suffix))


def load(project: Project, name: str, target: str = "") -> Declaration:
    """A run configuration and the compute target it names, together.

    `name` is with or without `.runconfig`, or a path to the file; `target` overrides the file's Target.

    Raises:
        ConfigurationError: with every violation of both files and of what they refer to.
        UsageError: there is no such run configuration or compute target.
    """
    loader = _Loader(project)
    name, file = _configuration(project, name)
    reading = loader.read(file, schemas.RUNCONFIG)
    shown = loader.shown(file)
    has_errors = reading is None
    if reading is None:
        reading = loader.outline
    reading = references.located(project, file, reading)
    target_name = (target or reading["runconfig"].get("target", "")).removesuffix(".compute")
    found = None
    if target_name:
        found = loader.target(target_name, reading, shown, is_argument=bool(target))
    elif not has_errors:
        hint = references.names_hint("", compute_targets(project)) or "`amlexec init` makes some"
        loader.say(Place(shown), "Must specify a target either through run configuration or arguments", hint)
    loader.violations += references.check(project, shown, reading, found)
    if found is None or any(violation.severity == "error" for violation in loader.violations):
        _fail(loader.violations)
    configuration = to_model.run_configuration(name, shown, reading)
    return Declaration(project, configuration, found, tuple(sorted(set(loader.violations))))


class Outline(NamedTuple):
    """What a run configuration refers to, as far as its files can be read."""

    file: str
    """Its own, absolute."""
    configuration: RunConfiguration | None
    """None where nothing of it can be read; of a file with errors, what it refers to alone."""
    named: frozenset[str] = frozenset()
    """The fields that the file has, and that are not left to their defaults."""
    compute_file: str = ""
    """Of its compute target, absolute, there or not; "" where it has none, or describes it itself."""
    target: ComputeTarget | None = None
    """None where it is not there, or its file has errors."""
    looked: tuple[str, ...] = ()
    """Where dependencies files were looked for, absolute."""
    has_sweep: bool = False
    """Whether it has a section `Sweep`, and no errors."""


def outline(project: Project, name: str) -> Outline:
    """What a run configuration refers to. Errors in its files, and files that are not there, are no matter.

    Raises:
        UsageError: there is no such run configuration.
    """
    loader = _Loader(project)
    name, file = _configuration(project, name)
    reading = loader.read(file, schemas.RUNCONFIG) or loader.outline
    named = frozenset(reading["runconfig"])
    if not named:
        return Outline(file, None)
    looked = tuple(references.candidates(project, file, reading))
    reading = references.located(project, file, reading)
    shown = loader.shown(file)
    configuration = to_model.run_configuration(name, shown, reading)
    wanted = configuration.target
    found = loader.target(wanted, reading, shown, is_argument=False) if wanted else None
    is_name = bool(wanted) and "/" not in wanted and "\\" not in wanted
    is_own = found is not None and not references.has_target(project, wanted)
    compute_file = f"{project.configuration}/{wanted}.compute" if is_name and not is_own else ""
    return Outline(file, configuration, named, compute_file, found, looked, "sweep" in reading)


def load_target(project: Project, name: str) -> ComputeTarget:
    """A compute target by its name, with or without `.compute`.

    Raises:
        ConfigurationError: its file has errors.
        UsageError: there is no such compute target.
    """
    loader = _Loader(project)
    found = loader.target(name.removesuffix(".compute"), {}, "", is_argument=True)
    return found if found is not None else _fail(loader.violations)


def load_conda(project: Project, path: str) -> CondaDependencies:
    """The conda dependencies of a file, or of the section in a run configuration.

    `path` is relative to the project's root.

    Raises:
        ConfigurationError: the file does not exist, or has errors.
    """
    return to_model.conda(*_dependencies(project, path, schemas.CONDA))


def load_spark(project: Project, path: str) -> SparkDependencies:
    """The Spark dependencies of a file, or of the section in a run configuration.

    `path` is relative to the project's root.

    Raises:
        ConfigurationError: the file does not exist, or has errors.
    """
    return to_model.spark(*_dependencies(project, path, schemas.SPARK))


def load_sweep(project: Project, name: str) -> SweepSection:
    """The `Sweep` section of a run configuration; an empty one if it has none.

    Raises:
        ConfigurationError: its file has errors.
        UsageError: there is no such run configuration.
    """
    loader = _Loader(project)
    reading = loader.read(_configuration(project, name)[1], schemas.RUNCONFIG)
    return to_model.sweep(reading) if reading is not None else _fail(loader.violations)


def find_spark(project: Project, path: str) -> SparkDependencies:
    """As `load_spark`, but empty if the file does not exist.

    The existence of a file that a run configuration names was checked before.
    """
    if os.path.exists(os.path.join(project.root, to_model.normal(path))):  # noqa: PTH110
        return load_spark(project, path)
    from amlexec.dependencies import SparkDependencies

    return SparkDependencies(Place(path))


def _dependencies(project: Project, path: str, kind: str) -> tuple[str, Reading]:
    loader = _Loader(project)
    file = os.path.join(project.root, to_model.normal(path))
    is_inline = schemas.kind_by_name(file) == schemas.RUNCONFIG
    reading = loader.read(file, schemas.kind_by_name(file) if is_inline else kind)
    return (loader.shown(file), reading) if reading is not None else _fail(loader.violations)


def _configuration(project: Project, name: str) -> tuple[str, str]:
    """Name and file of a run configuration."""
    bare = name.removesuffix(".runconfig")
    if "/" not in name and os.sep not in name:
        file = f"{project.configuration}/{bare}.runconfig"
        if bare and os.path.isfile(file):
            return bare, file
        file = f"{project.configuration}/{name}"
        if schemas.kind_by_name(file) == schemas.RUNCONFIG and os.path.isfile(file):
            return bare, file
    for file in (name, os.path.join(project.root, name), f"{name}.runconfig"):
        if schemas.kind_by_name(os.path.abspath(file)) == schemas.RUNCONFIG and os.path.isfile(file):
            return os.path.basename(file).removesuffix(".runconfig"), os.path.realpath(file)
    stem = os.path.basename(bare.replace("\\", "/"))
    hint = references.names_hint(stem, run_configurations(project)) or "`amlexec init` makes some"
    raise UsageError(f"there is no run configuration {name!r} in {project.folder}", hint=hint)


def _fail(violations: Iterable[Violation]) -> NoReturn:
    found = sorted(set(violations))
    errors = [violation for violation in found if violation.severity == "error"]
    message = errors[0].message if len(errors) == 1 else f"{len(errors)} errors in the declarations"
    where = str(errors[0].place) if len(errors) == 1 else ""
    raise ConfigurationError(message, hint=errors[0].hint, where=where, violations=found)


class _Loader:
    """Reads the files of one declaration and collects their violations."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._checker: Checker | None = None
        self.violations: list[Violation] = []
        self.outline: Reading = {"runconfig": {}, "places": {}, "names": {}}
        """The references of a run configuration that has errors."""

    def shown(self, file: str) -> str:
        """How messages name a file."""
        path, root = file.replace(os.sep, "/"), self._project.root.replace(os.sep, "/").rstrip("/")
        return path[len(root) + 1 :] if path.startswith(f"{root}/") else path

    def say(self, place: Place, message: str, hint: str, key: str = "") -> None:
        """Add an error."""
        self.violations.append(Violation(place, "error", message, hint, key))

    def read(self, file: str, kind: str) -> Reading | None:
        """The reading of a file, from the cache if possible; None if the file has errors."""
        try:
            data = read_regular(file, SMALL << 2)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self.say(Place(self.shown(file)), f"can't be read: {reason}", "")
            return None
        entry = cache.name(kind, data)
        reading = cache.load(self._project.state, entry)
        return reading if reading is not None else self._check(file, kind, data, entry)

    def _check(self, file: str, kind: str, data: bytes, entry: str) -> Reading | None:
        from amlexec.config import document, generations, validate

        try:
            found = document.read(data, self.shown(file), lenient=True)
        except ConfigurationError as error:
            self.violations += error.violations
            return None
        self._checker = self._checker or validate.Checker()
        checked = self._checker.check(found, kind)
        self.violations += checked.violations
        if checked.reading is not None and not checked.violations:
            cache.store(self._project.state, entry, checked.reading)
        if checked.reading is None and kind == schemas.RUNCONFIG:
            self.outline = generations.outline(found.root)
        return checked.reading

    def target(self, name: str, reading: Reading, shown: str, *, is_argument: bool) -> ComputeTarget | None:
        """The compute target, overridden by a camelCase run configuration; None if it has violations."""
        if references.has_target(self._project, name):
            file = f"{self._project.configuration}/{name}.compute"
            fields = self.read(file, schemas.COMPUTE)
            if fields is None:
                return None
            target = to_model.compute_target(name, self.shown(file), fields["compute"])
            return to_model.overridden(target, reading, shown)
        if name == "local" and "own" in reading:
            return to_model.own_target(name, shown, reading)
        message = f"there is no compute target {name!r} in {self._project.folder}"
        known = compute_targets(self._project)
        if not reading:
            raise UsageError(message, hint=references.names_hint(name, known))
        if is_argument:
            self.say(Place("--target"), message, references.attach_hint(self._project, name, known))
        elif name != "local" or reading["names"].get("target") == "Target":
            self.violations.append(references.no_target(self._project, shown, reading, name))
        return None
