"""The input files of an environment: the files whose changes may rebuild it.

doit needs them for every command, so a file is read again only if its content is new: answers are cached by
the digests of the files they were read from. Errors in the files are ignored here; preparing the environment
reports them. No connection is opened.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import TypeVar, cast

from amlexec import __version__, kinds
from amlexec.config import cache
from amlexec.config import load as config
from amlexec.errors import AmlexecError
from amlexec.files import read_regular
from amlexec.kinds import is_prepared
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from amlexec.config.load import Outline
    from amlexec.values import Project

__all__ = ["InputFiles", "find", "package_files"]

# ruff: noqa: PTH112, PTH116, PTH118, PTH122, PTH208 - pathlib costs a run 3 ms

_T = TypeVar("_T")
_ENTRY = "inputs"
"""The cache entry with the answers, by run configuration."""
_LARGEST = 64 << 20


class InputFiles(NamedTuple):
    """The input files of a run configuration's environment, and whether a run prepares it."""

    files: tuple[str, ...] = ()
    """Absolute, sorted. Includes files that the declarations name but that don't exist."""
    folders: tuple[str, ...] = ()
    """The folders of local packages, absolute; `package_files` lists the files in them that count."""
    conda_file: str = ""
    """The dependencies file, absolute; "" if the environment is the user's own."""
    is_waited_for: bool = False
    """Whether PrepareEnvironment is true, and there is an environment to prepare."""
    has_sweep: bool = False
    """Whether the run configuration has a section `Sweep`."""


def find(project: Project, names: Iterable[str]) -> dict[str, InputFiles]:
    """The files of each of these run configurations. Opens no connection, raises no error."""
    contents = _Contents()
    entry = cast("Mapping[str, Any]", cache.load(project.state, _ENTRY) or {})
    cached = entry.get("known") if entry.get("head") == _head() else None
    cached = cached if isinstance(cached, dict) else {}
    answers = {}
    found = {}
    for name in names:
        answers[name] = _cached(cached.get(name), contents) or _read(project, name, contents)
        found[name] = _now(answers[name])
    if answers != {name: _InputPaths.of(value) for name, value in cached.items()}:
        kept = {name: answer._asdict() for name, answer in answers.items()}
        cache.store(project.state, _ENTRY, {"head": _head(), "known": kept})
    return found


def package_files(project: Project, inputs: InputFiles) -> list[str]:
    """The files of local packages, absolute: the installed ones, as far as can be determined."""
    if not inputs.folders:
        return []
    from amlexec import digest
    from amlexec.snapshots import sources

    conda = os.path.relpath(inputs.conda_file, project.root)
    own = [conda, f"{os.path.splitext(conda)[0]}.lock"]
    found = []
    for folder in inputs.folders:
        try:
            if not {"pyproject.toml", "setup.py"} & set(os.listdir(folder)):
                continue  # not a package, and possibly very large
            try:
                names = sources.files(project.root, folder, own)
            except AmlexecError:
                names = digest.sources(folder)  # without git, the ignore rules can't be applied
        except OSError:
            continue
        found += [path for path in (os.path.join(folder, name) for name in names) if _is_file(path)]
    return found


class _InputPaths(NamedTuple):
    """The paths that the files of a run configuration refer to."""

    read: Mapping[str, str]
    """The files it was read from, with the digests of their contents. If empty, it is not cached."""
    paths: Mapping[str, list[str]]
    """By role (see `_ROLES`), absolute, sorted."""
    conda_file: str
    is_waited_for: bool
    has_sweep: bool

    @classmethod
    def of(cls, value: object) -> _InputPaths | None:
        """The answer in a cached value; None if the value is damaged."""
        if not isinstance(value, dict) or value.keys() != set(cls._fields):
            return None
        answer = cls(**value)
        is_whole = isinstance(answer.read, dict) and isinstance(answer.paths, dict)
        return answer if is_whole and answer.paths.keys() == set(_ROLES) else None


_ROLES = ("named", "optional", "packages", "links", "folders")
"""The role of a path in an environment:

- named: a file that the declarations name. It counts even if it does not exist: nothing can be built then;
- optional: a file that counts if it exists;
- packages: a wheel, a source archive, or a folder with the sources of a package;
- links: a path in --find-links;
- folders: a folder in which every file counts.
"""


class _Contents:
    """Digests of files' contents; each file is read once."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self.variable: set[str] = set()
        """The files with `${…}` in them."""

    def of(self, path: str) -> str:
        """The digest of a file's content; "" if it does not exist or can't be read."""
        if path not in self._digests:
            try:
                data = read_regular(path, _LARGEST)
            except (OSError, ValueError):  # ValueError: a NUL in the name
                self._digests[path] = ""
            else:
                self._digests[path] = sha256(data).hexdigest()
                if b"${" in data:
                    self.variable.add(path)
        return self._digests[path]


def _head() -> str:
    # HOME, because `~` in a path depends on it.
    return f"{__version__} {os.environ.get('HOME')}"


def _cached(kept: object, contents: _Contents) -> _InputPaths | None:
    """The cached answer, if the files it was read from are unchanged."""
    answer = _InputPaths.of(kept)
    if answer is None or not answer.read:
        return None
    return answer if all(contents.of(path) == digest for path, digest in answer.read.items()) else None


def _read(project: Project, name: str, contents: _Contents) -> _InputPaths:
    """Read the files of a run configuration, and follow their references as far as possible."""
    paths: dict[str, set[str]] = {role: set() for role in _ROLES}
    try:
        outline = config.outline(project, name)
    except AmlexecError:
        return _paths_of(contents, (), paths)
    has_sweep = outline.has_sweep
    declared = {outline.file, *([outline.compute_file] if outline.compute_file else [])}
    paths["named"] |= declared
    read = {*declared, *outline.looked}
    if outline.configuration is None or (outline.target is not None and not is_prepared(outline.target)):
        return _paths_of(contents, read, paths, has_sweep=has_sweep)
    conda = os.path.join(project.root, outline.configuration.conda_dependencies_file)
    lines = _conda_lines(project, outline, conda, paths)
    read |= lines
    if outline.configuration.framework == "PySpark":
        read.add(_spark(project, outline, paths))
    is_waited_for = outline.target is not None and outline.configuration.prepare_environment
    return _paths_of(contents, read, paths, lines, conda, is_waited_for=is_waited_for, has_sweep=has_sweep)


def _paths_of(
    contents: _Contents,
    read: Iterable[str],
    paths: Mapping[str, Iterable[str]],
    lines: Iterable[str] = (),
    conda_file: str = "",
    *,
    is_waited_for: bool = False,
    has_sweep: bool = False,
) -> _InputPaths:
    """The answer. `lines` are the files whose variables may name other paths next time: never cached."""
    states = {path: contents.of(path) for path in sorted(read)}
    if not contents.variable.isdisjoint(lines):
        states = {}
    by_role = {role: sorted(found) for role, found in paths.items()}
    return _InputPaths(states, by_role, conda_file, is_waited_for, has_sweep)


def _conda_lines(project: Project, outline: Outline, conda: str, paths: dict[str, set[str]]) -> set[str]:
    """Follow the conda dependencies; the files that were read."""
    paths["named"].add(conda)
    paths["optional"].add(f"{os.path.splitext(conda)[0]}.lock")
    lines = _tolerant(lambda: config.load_conda(project, conda).pip)
    if not lines:
        return {conda}
    from amlexec.packages.requirement_checks import references

    shared: str | None = None
    if outline.target is not None:
        is_local = kinds.of(outline.target.kind).on_local_engine
        shared = outline.target.shared_folder(project) if is_local else ""
    found = references(project.root, lines, shared=shared)
    paths["named"].update(found.requirements)
    paths["packages"].update(found.packages)
    paths["links"].update(found.links)
    return {conda, *found.requirements}


def _spark(project: Project, outline: Outline, paths: dict[str, set[str]]) -> str:
    """Follow the Spark dependencies; their file."""
    assert outline.configuration is not None, "it was read"
    file = os.path.join(project.root, outline.configuration.spark_dependencies_file)
    paths["named" if "spark_dependencies_file" in outline.named else "optional"].add(file)
    # Only images contain the Maven packages.
    if outline.target is None or kinds.of(outline.target.kind).environment == kinds.IMAGE:
        paths["folders"].update(_tolerant(lambda: _maven(project, file)))
    return file


def _maven(project: Project, file: str) -> tuple[str, ...]:
    from amlexec.spark import maven

    return maven.folders(project, config.find_spark(project, file))


def _tolerant(look: Callable[[], tuple[_T, ...]]) -> tuple[_T, ...]:
    """The result of `look`, or () on an error: preparing the environment reports errors."""
    try:
        return look()
    except (AmlexecError, OSError, ValueError):
        return ()


def _now(answer: _InputPaths) -> InputFiles:
    """The files of an answer that exist now."""
    paths = answer.paths
    folders = tuple(path for path in paths["packages"] if os.path.isdir(path))
    named = {*paths["named"], *paths["packages"]}.difference(folders)
    files = {path for path in named if _is_file(path) or not _is_something(path)}
    files.update(filter(_is_file, paths["optional"]))
    for path in paths["links"]:
        from amlexec.packages.requirement_paths import is_archive

        files.update(file for file in _files_in(path) if is_archive(file) or file == path)
    for path in paths["folders"]:
        files.update(_files_in(path))
    return InputFiles(
        tuple(sorted(files)), folders, answer.conda_file, answer.is_waited_for, answer.has_sweep
    )


def _files_in(path: str) -> list[str]:
    """The files in a folder; for a file, the file itself."""
    try:
        found = [os.path.join(path, name) for name in os.listdir(path)]
    except (OSError, ValueError):
        found = [path]
    return [file for file in found if _is_file(file)]


def _is_file(path: str) -> bool:
    """Whether it is a readable regular file: doit opens it, and would hang on a named pipe."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False


def _is_something(path: str) -> bool:
    """Whether the path exists, or is no valid path."""
    try:
        return os.path.lexists(path)
    except ValueError:
        return True
