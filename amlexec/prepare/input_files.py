"""The files that an environment follows from: what a change in them is a change of.

doit asks for them whatever it is told to do, so a file is read again only if its content is new: the
answer is kept by the digests of what it was read from. Errors in the files are no matter here: what can be
read is followed, and whoever prepares the environment says what is wrong. Nothing is connected.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from amlexec import __version__, kinds
from amlexec.config import cache
from amlexec.config import load as config
from amlexec.errors import AmlexecError
from amlexec.files import read_regular
from amlexec.kinds import is_prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from amlexec.config.load import Outline
    from amlexec.model import Project

__all__ = ["InputFiles", "find", "package_files"]

# ruff: noqa: PTH112, PTH116, PTH118, PTH122, PTH208 - pathlib costs a run 3 ms

_T = TypeVar("_T")
_ENTRY = "inputs"
"""The name under which the answers are kept, by run configuration."""
_LARGEST = 64 << 20


class InputFiles(NamedTuple):
    """What the environment of a run configuration follows from, and whether a run waits for it."""

    files: tuple[str, ...] = ()
    """Absolute, sorted. One that the declarations name is among them even if it is not there."""
    folders: tuple[str, ...] = ()
    """The folders of local packages, absolute; `package_files` says which files in them count."""
    conda_file: str = ""
    """The dependencies file, absolute; "" where the environment is the user's."""
    is_waited_for: bool = False
    """Whether PrepareEnvironment is true, and there is an environment to prepare."""


def find(project: Project, names: Iterable[str]) -> dict[str, InputFiles]:
    """The files of each of these run configurations. No connection is opened, and no error raised."""
    contents = _Contents()
    remembered = cast("Mapping[str, Any]", cache.load(project.state, _ENTRY) or {})
    known = remembered.get("known") if remembered.get("head") == _head() else None
    known = known if isinstance(known, dict) else {}
    told = {}
    found = {}
    for name in names:
        answer = _answer(known.get(name), contents)
        told[name] = answer or _read(project, name, contents)
        found[name] = _now(told[name])
    if told != {name: _Answer.of(one) for name, one in known.items()}:
        kept = {name: answer._asdict() for name, answer in told.items()}
        cache.store(project.state, _ENTRY, {"head": _head(), "known": kept})
    return found


def package_files(project: Project, inputs: InputFiles) -> list[str]:
    """The files of local packages, absolute: those that are installed, as far as that can be known."""
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
                continue  # it can't be installed, and may be as large as the disk
            try:
                names = sources.files(project.root, folder, own)
            except AmlexecError:
                names = digest.sources(folder)  # without git, nobody knows what the ignore rules leave in
        except OSError:
            continue
        found += [path for path in (os.path.join(folder, name) for name in names) if _is_file(path)]
    return found


class _Answer(NamedTuple):
    """What the files of a run configuration refer to."""

    read: Mapping[str, str]
    """What it was read from: files with the digests of their contents. Without any, it is not kept."""
    paths: Mapping[str, list[str]]
    """By role (see `_ROLES`), absolute, sorted."""
    conda_file: str
    is_waited_for: bool

    @classmethod
    def of(cls, value: object) -> _Answer | None:
        """The answer that was kept; None where it is none."""
        if not isinstance(value, dict) or value.keys() != set(cls._fields):
            return None
        answer = cls(**value)
        is_whole = isinstance(answer.read, dict) and isinstance(answer.paths, dict)
        return answer if is_whole and answer.paths.keys() == set(_ROLES) else None


_ROLES = ("named", "optional", "packages", "links", "folders")
"""What a path is to an environment:

- named: a file that the declarations name. It counts even if it is not there: then nothing can be made;
- optional: a file that counts if it is there;
- packages: a wheel, packed sources, or a folder with the sources of a package;
- links: what --find-links names;
- folders: a folder of which every file counts.
"""


class _Contents:
    """What files hold, as digests; each is read once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self.variable: set[str] = set()
        """Those of them that have variables in them."""

    def of(self, path: str) -> str:
        """The digest of a file's content; "" of one that is not there, or can't be read."""
        if path not in self._known:
            try:
                data = read_regular(path, _LARGEST)
            except (OSError, ValueError):  # a name with a NUL in it is that of nothing
                self._known[path] = ""
            else:
                self._known[path] = sha256(data).hexdigest()
                if b"${" in data:
                    self.variable.add(path)
        return self._known[path]


def _head() -> str:
    # `~` in a path means another folder for another user.
    return f"{__version__} {os.environ.get('HOME')}"


def _answer(kept: object, contents: _Contents) -> _Answer | None:
    """What was kept, if everything that it was read from is as it was."""
    answer = _Answer.of(kept)
    if answer is None or not answer.read:
        return None
    return answer if all(contents.of(path) == told for path, told in answer.read.items()) else None


def _read(project: Project, name: str, contents: _Contents) -> _Answer:
    """Read the files of a run configuration, and follow what they refer to, as far as that can be done."""
    paths: dict[str, set[str]] = {role: set() for role in _ROLES}
    try:
        told = config.outline(project, name)
    except AmlexecError:
        return _answer_of(contents, (), paths)
    declared = {told.file, *([told.compute_file] if told.compute_file else [])}
    paths["named"] |= declared
    read = {*declared, *told.looked}
    if told.configuration is None or (told.target is not None and not is_prepared(told.target)):
        return _answer_of(contents, read, paths)
    conda = os.path.join(project.root, told.configuration.conda_dependencies_file)
    lines = _conda_lines(project, told, conda, paths)
    read |= lines
    if told.configuration.framework == "PySpark":
        read.add(_spark(project, told, paths))
    is_waited_for = told.target is not None and told.configuration.prepare_environment
    return _answer_of(contents, read, paths, lines, conda, is_waited_for=is_waited_for)


def _answer_of(
    contents: _Contents,
    read: Iterable[str],
    paths: Mapping[str, Iterable[str]],
    lines: Iterable[str] = (),
    conda_file: str = "",
    *,
    is_waited_for: bool = False,
) -> _Answer:
    """The answer. `lines` are the files in which a variable may stand for another path tomorrow."""
    states = {path: contents.of(path) for path in sorted(read)}
    if not contents.variable.isdisjoint(lines):
        states = {}
    return _Answer(states, {role: sorted(found) for role, found in paths.items()}, conda_file, is_waited_for)


def _conda_lines(project: Project, told: Outline, conda: str, paths: dict[str, set[str]]) -> set[str]:
    """Follow the conda dependencies; the files whose lines were looked at."""
    paths["named"].add(conda)
    paths["optional"].add(f"{os.path.splitext(conda)[0]}.lock")
    lines = _tolerant(lambda: config.load_conda(project, conda).pip)
    if not lines:
        return {conda}
    from amlexec.packages.requirement_checks import references

    shared: str | None = None
    if told.target is not None:
        shared = told.target.shared_folder(project) if kinds.of(told.target.kind).on_local_engine else ""
    found = references(project.root, lines, shared=shared)
    paths["named"].update(found.requirements)
    paths["packages"].update(found.packages)
    paths["links"].update(found.links)
    return {conda, *found.requirements}


def _spark(project: Project, told: Outline, paths: dict[str, set[str]]) -> str:
    """Follow the Spark dependencies; their file."""
    assert told.configuration is not None, "it was read"
    file = os.path.join(project.root, told.configuration.spark_dependencies_file)
    paths["named" if "spark_dependencies_file" in told.named else "optional"].add(file)
    if (
        told.target is None or kinds.of(told.target.kind).environment == kinds.IMAGE
    ):  # it has the Maven packages in it
        paths["folders"].update(_tolerant(lambda: _maven(project, file)))
    return file


def _maven(project: Project, file: str) -> tuple[str, ...]:
    from amlexec.spark import maven

    return maven.folders(project, config.find_spark(project, file))


def _tolerant(look: Callable[[], tuple[_T, ...]]) -> tuple[_T, ...]:
    """What `look` finds; what is wrong with the files is told by whoever needs them."""
    try:
        return look()
    except (AmlexecError, OSError, ValueError):
        return ()


def _now(answer: _Answer) -> InputFiles:
    """The files, as they are there now."""
    paths = answer.paths
    folders = tuple(path for path in paths["packages"] if os.path.isdir(path))
    named = {*paths["named"], *paths["packages"]}.difference(folders)
    files = {path for path in named if _is_file(path) or not _is_something(path)}
    files.update(filter(_is_file, paths["optional"]))
    for path in paths["links"]:
        from amlexec.packages.requirement_paths import is_archive

        files.update(one for one in _held(path) if is_archive(one) or one == path)
    for path in paths["folders"]:
        files.update(_held(path))
    return InputFiles(tuple(sorted(files)), folders, answer.conda_file, answer.is_waited_for)


def _held(path: str) -> list[str]:
    """The files in a folder; of a file, itself."""
    try:
        found = [os.path.join(path, name) for name in os.listdir(path)]
    except (OSError, ValueError):
        found = [path]
    return [one for one in found if _is_file(one)]


def _is_file(path: str) -> bool:
    """Whether that is a regular file that we can read: doit opens it, and would wait for a named pipe."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False


def _is_something(path: str) -> bool:
    """Whether anything has that name, or can't have it."""
    try:
        return os.path.lexists(path)
    except ValueError:
        return True
