"""The registry of models: register, find, tag, name and delete versions. Over any `Store`."""

from __future__ import annotations

import getpass
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from amlexec import __version__
from amlexec.errors import TargetError, UsageError
from amlexec.history.record import instant
from amlexec.models import names, numbering, places
from amlexec.models.content import scan
from amlexec.models.listing import Broken, Model, Name, all_of, name_of
from amlexec.models.version import Deleted, Origin, Version, tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from amlexec.models.store import Store
    from amlexec.values import Project

__all__ = ["Registered", "Registry", "opened"]

_LONGEST_TEXT = 1 << 16
"""In characters, of a tag's text or a description."""


class Registered(NamedTuple):
    """The result of `register`."""

    model: Model
    is_new: bool
    """False if these files were a version of that name already."""


class Registry:
    """A registry of models."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def names(self) -> list[str]:
        """The names that have versions, sorted."""
        return [name for name in self.store.entries("names") if names.is_name(name)]

    def all(self) -> list[Name]:
        """Everything, by name."""
        return all_of(self.store.tree("names"))

    def read(self, name: str) -> Name:
        """The versions of a name; none if it does not exist."""
        return name_of(name, self.store.tree(f"names/{name}"))

    def find(self, text: str) -> Model:
        """The version that NAME, NAME:VERSION or NAME:ALIAS means; NAME alone is its newest version.

        Raises:
            UsageError: there is none.
            TargetError: its record can't be read.
        """
        reference = names.reference(text)
        found = self.existing(reference.name)
        number = _number(found, reference)
        version = found.versions.get(number)
        if version is None or isinstance(version, Deleted):
            gone = "was deleted" if version else "does not exist"
            raise UsageError(f"{reference.name}:{number} {gone}", hint=_has(found), where=self.store.place)
        if isinstance(version, Broken):
            raise self._broken(version)
        return version

    def register(
        self,
        name: str,
        path: Path,
        *,
        origin: Origin | None = None,
        lock: str = "",
        tags: Mapping[str, str] | None = None,
        description: str = "",
        within: Path | None = None,
    ) -> Registered:
        """Add a file or folder as the next version. The same files again are the same version.

        `lock` is the text of the resolved lock that `origin` names; `within` is a folder that links may not
        lead out of. Tags and a description are set on an existing version, too.

        Raises:
            UsageError: the name is invalid, or there is no such file.
            TargetError: the registry can't be used.
        """
        names.model_name(name)
        changes = {names.tag_file(key): _text(value, f"tag {key!r}") for key, value in (tags or {}).items()}
        _text(description, "description")
        content = scan(path, within)
        self.store.put(content, path)
        origin = origin or Origin()
        if lock and origin.run is not None and origin.run.lock is not None:
            self.store.create(f"locks/{origin.run.lock}.lock", lock.encode())
        draft = Version(
            name, 0, instant(time.time()), content, origin, _user(), socket.gethostname(), __version__
        )
        version, is_new = numbering.numbered(self.store, draft)
        if not self.store.holds(content):
            self.store.put(content, path)  # a version with the same files was deleted at this moment
        for file, value in changes.items():
            self.store.replace(f"names/{name}/tags/{version.version}/{file}", value)
        if description:
            self.store.replace(f"names/{name}/descriptions/{version.version}", description.encode())
        if is_new:
            return Registered(Model(version, (names.LATEST,), dict(tags or {}), description), is_new)
        return Registered(self.find(version.id), is_new)

    def promote(self, text: str, alias: str) -> tuple[Model, int | None]:
        """Let an alias mean this version; the version, and the number that it meant before."""
        names.alias(alias)
        model = self.find(text)
        before = self.read(model.version.name).aliases.get(alias)
        number = f"{model.number}\n".encode()
        self.store.replace(f"names/{model.version.name}/aliases/{alias}", number)
        return self.find(model.id), before

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias. Raises UsageError if the name has no such alias."""
        names.alias(alias)
        found = self.existing(names.model_name(name))
        if alias not in found.aliases:
            raise UsageError(f"{name} has no alias {alias!r}", hint=_has(found), where=self.store.place)
        self.store.remove(f"names/{name}/aliases/{alias}")

    def tag(self, text: str, changes: Mapping[str, str | None]) -> Model:
        """Set tags, or, where the value is None, remove them."""
        encoded = {names.tag_file(key): value for key, value in changes.items()}
        model = self.find(text)
        for key, value in changes.items():
            if value is None and key not in model.tags:
                has = f"it has {', '.join(model.tags)}" if model.tags else "it has no tags"
                raise UsageError(f"{model.id} has no tag {key!r}", hint=has)
        for file, value in encoded.items():
            path = f"names/{model.version.name}/tags/{model.number}/{file}"
            if value is None:
                self.store.remove(path)
            else:
                self.store.replace(path, _text(value, "tag"))
        return self.find(model.id)

    def describe(self, text: str, description: str) -> Model:
        """Replace the description of a version."""
        model = self.find(text)
        path = f"names/{model.version.name}/descriptions/{model.number}"
        self.store.replace(path, _text(description, "description"))
        return self.find(model.id)

    def delete(self, text: str, *, even_if_named: bool = False) -> Model | Broken:
        """Delete a version, whose number is never used again. Files that another version has stay.

        Raises:
            UsageError: `text` names no version by its number, or an alias means it.
        """
        reference = names.reference(text)
        found = self.existing(reference.name)
        if reference.version is None:
            raise UsageError(
                f"{text!r} can mean another version tomorrow: nothing is deleted",
                hint=f"name the version by its number, such as {reference.name}:{_number(found, reference)}",
            )
        version = found.versions.get(reference.version)
        if version is None or isinstance(version, Deleted):
            raise UsageError(f"{reference} does not exist", hint=_has(found), where=self.store.place)
        named = sorted(alias for alias, number in found.aliases.items() if number == reference.version)
        if named and not even_if_named:
            raise UsageError(
                f"{version.id} is {' and '.join(named)}: it was not deleted",
                hint=f"promote another version first, or add --force, which removes {', '.join(named)} too",
            )
        for alias in named:
            self.store.remove(f"names/{reference.name}/aliases/{alias}")
        gone = Deleted(reference.name, reference.version, instant(time.time()))
        self.store.replace(numbering.record_file(reference.name, reference.version), tombstone(gone).encode())
        for key in version.tags if isinstance(version, Model) else ():
            self.store.remove(f"names/{reference.name}/tags/{reference.version}/{names.tag_file(key)}")
        self.store.remove(f"names/{reference.name}/descriptions/{reference.version}")
        if isinstance(version, Model):
            digest = version.version.content.digest
            self.store.drop(digest, lambda: self._is_needed(digest))
        return version

    def _is_needed(self, digest: str) -> bool:
        """Whether a version may have these files: those of a version that can't be read are not known."""
        return any(
            isinstance(version, Broken) or version.version.content.digest == digest
            for name in self.all()
            for version in name.present
        )

    def fetch(self, model: Model) -> Path:
        """A local folder with the files of a version below it, compared with their digests.

        Raises:
            TargetError: they are not those that were registered, or can't be read.
        """
        return self.store.fetched(model.version.content)

    def path(self, model: Model) -> Path:
        """The local path of the registered file or folder itself. Raises as `fetch` does."""
        return self.fetch(model) / model.version.content.root

    def lock(self, model: Model) -> str | None:
        """The text of the resolved lock of the environment that made it; None if it is not known."""
        from amlexec.environments import resolved_lock

        run = model.version.origin.run
        if run is None or run.lock is None:
            return None
        content = self.store.read(f"locks/{run.lock}.lock")
        if content is None:
            return None
        text = content.decode("utf-8", "replace")
        return text if resolved_lock.name_of(text) == run.lock else None

    def existing(self, name: str) -> Name:
        """The versions of a name. Raises UsageError if it has none."""
        found = self.read(name)
        if found.present:
            return found
        from difflib import get_close_matches

        known = self.names()
        near = get_close_matches(name, known, n=3)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = f"it has {', '.join(known[:10])}" if known else "amlexec model register -n NAME FILE"
        raise UsageError(f"the registry has no model {name!r}", hint=hint, where=self.store.place)

    def _broken(self, broken: Broken) -> TargetError:
        return TargetError(
            f"the record of {broken.id} can't be read: {broken.problem}",
            where=f"{self.store.place}/{numbering.record_file(broken.name, broken.number)}",
            hint="use another version, or restore the file from a backup",
        )


def opened(project: Project | None, given: str | None = None) -> Registry:
    """The registry of a project, or the one that `given` or AMLEXEC_MODELS names.

    Raises:
        UsageError: the URL is not one that can be used, or there is no project.
    """
    return Registry(places.opened(project, given))


def _number(found: Name, reference: names.Reference) -> int:
    """The number of the version that is meant. Raises UsageError."""
    if reference.version is not None:
        return reference.version
    if reference.alias == names.LATEST:
        return found.present[-1].number
    if reference.alias not in found.aliases:
        raise UsageError(f"{reference.name} has no alias {reference.alias!r}", hint=_has(found))
    return found.aliases[reference.alias]


def _has(found: Name) -> str:
    numbers = [number for number, each in found.versions.items() if not isinstance(each, Deleted)]
    shown = ", ".join(map(str, numbers[-10:]))
    more = "the versions … " if len(numbers) > 10 else "version " if len(numbers) == 1 else "the versions "
    aliases = "".join(f", {alias} = {number}" for alias, number in sorted(found.aliases.items()))
    return f"{found.name} has {more}{shown}{aliases}" if numbers else "amlexec model list"


def _text(text: str, what: str) -> bytes:
    if len(text) > _LONGEST_TEXT:
        raise UsageError(f"the {what} has more than {_LONGEST_TEXT} characters")
    return text.encode("utf-8", "backslashreplace")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
