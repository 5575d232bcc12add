"""Sort the files of a registry into names, versions, aliases and tags. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.models import names
from amlexec.models.version import Deleted, Version, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Broken", "Model", "Name", "all_of", "name_of", "number_of"]

_VERSION = re.compile(r"([1-9][0-9]{0,8})\.json")


class Model(NamedTuple):
    """A version, with what can change: aliases, tags, description."""

    version: Version
    aliases: tuple[str, ...] = ()
    """Sorted; with `latest`."""
    tags: dict[str, str] = {}  # noqa: RUF012 - a default is never written to
    description: str = ""

    @property
    def id(self) -> str:
        """`NAME:VERSION`."""
        return self.version.id

    @property
    def number(self) -> int:
        """The number of the version."""
        return self.version.version


class Broken(NamedTuple):
    """A version whose record can't be read."""

    name: str
    number: int
    problem: str

    @property
    def id(self) -> str:
        """`NAME:VERSION`."""
        return f"{self.name}:{self.number}"


class Name(NamedTuple):
    """All of one name."""

    name: str
    versions: dict[int, Model | Broken | Deleted]
    """By number, sorted."""
    aliases: dict[str, int]

    @property
    def present(self) -> list[Model | Broken]:
        """The versions that were not deleted, oldest first."""
        return [each for each in self.versions.values() if not isinstance(each, Deleted)]


def all_of(files: Mapping[str, bytes | OSError]) -> list[Name]:
    """Sort the files of all names, sorted."""
    by_name: dict[str, dict[str, bytes | OSError]] = {}
    for path, content in files.items():
        name, _, rest = path.partition("/")
        if names.is_name(name) and rest:
            by_name.setdefault(name, {})[rest] = content
    return [name_of(name, by_name[name]) for name in sorted(by_name)]


def name_of(name: str, files: Mapping[str, bytes | OSError]) -> Name:
    """Sort the files of a name."""
    aliases: dict[str, int] = {}
    numbers: list[int] = []
    for path, content in files.items():
        folder, _, file = path.partition("/")
        if folder == "versions" and (number := number_of(file)) is not None:
            numbers.append(number)
        elif folder == "aliases" and names.is_name(file) and isinstance(content, bytes):
            text = content.strip()
            if text.isdigit() and len(text) < 10:
                aliases[file] = int(text)
    versions: dict[int, Model | Broken | Deleted] = {}
    for number in sorted(numbers):
        versions[number] = _version_of(name, number, files, aliases)
    living = [number for number, each in versions.items() if not isinstance(each, Deleted)]
    newest = living[-1] if living else 0
    last = versions.get(newest)
    if isinstance(last, Model):
        versions[newest] = last._replace(aliases=tuple(sorted({*last.aliases, names.LATEST})))
    return Name(name, versions, {alias: number for alias, number in aliases.items() if number in living})


def number_of(file: str) -> int | None:
    """The number of the version whose record has that name; None if it is no record."""
    match = _VERSION.fullmatch(file)
    return int(match[1]) if match else None


def _version_of(
    name: str, number: int, files: Mapping[str, bytes | OSError], aliases: Mapping[str, int]
) -> Model | Broken | Deleted:
    content = files[f"versions/{number}.json"]
    if isinstance(content, OSError):
        return Broken(name, number, content.strerror or str(content))
    try:
        version = parsed(content, name, number)
    except ValueError as error:
        return Broken(name, number, str(error))
    if isinstance(version, Deleted):
        return version
    tags: dict[str, str] = {}
    start = f"tags/{number}/"
    for path, text in sorted(files.items()):
        if path.startswith(start) and isinstance(text, bytes):
            try:
                tags[names.tag_name(path.removeprefix(start))] = text.decode("utf-8", "replace")
            except ValueError:
                continue
    described = files.get(f"descriptions/{number}")
    description = described.decode("utf-8", "replace") if isinstance(described, bytes) else ""
    own = tuple(sorted(alias for alias, meant in aliases.items() if meant == number))
    return Model(version, own, tags, description)
