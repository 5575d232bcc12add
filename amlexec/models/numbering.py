"""Give a new version its number, unless a version has the same files.

The names in `names/NAME/digests` tell which versions may have them, so that no record has to be read.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.models.listing import number_of
from amlexec.models.version import Version, parsed, text_of

if TYPE_CHECKING:
    from amlexec.models.store import Store
    from amlexec.models.version import Deleted

__all__ = ["numbered", "record_file"]

_MOST_TRIES = 1000
_FEW = 3
"""So many records are read one by one; more are read as a whole folder, in one request."""
_MOST_NOTED = 100
"""So many versions without a name in the folder of digests get theirs at once."""


def record_file(name: str, number: int) -> str:
    """The name of a version's record in a store."""
    return f"names/{name}/versions/{number}.json"


def _numbers(store: Store, name: str) -> set[int]:
    """The numbers of all versions of a name, also of deleted ones; no record is read."""
    found = map(number_of, store.entries(f"names/{name}/versions"))
    return {number for number in found if number is not None}


def numbered(store: Store, draft: Version) -> tuple[Version, bool]:
    """Take the next number, unless a version has these files."""
    taken = _numbers(store, draft.name)
    if (same := _same(store, draft, _alike(store, draft, taken))) is not None:
        return same, False
    for _ in range(_MOST_TRIES):
        version = draft._replace(version=max(taken, default=0) + 1)
        # Before the record: every version that is seen has its name here.
        note = _note(store, version)
        # Only one writer makes this file; another one reads it and tries the next number.
        if store.create(record_file(version.name, version.version), text_of(version).encode()):
            return version, True
        store.remove(note)
        now = _numbers(store, draft.name)
        if (same := _same(store, draft, now - taken)) is not None:
            return same, False
        taken |= now
    raise TargetError("other processes keep taking the next version", where=store.place)


def _alike(store: Store, draft: Version, numbers: set[int]) -> set[int]:
    """Those of the versions that may have the same files: by their names in the folder of digests.

    Versions of earlier releases have no name there: their records are read, and some get a name.
    """
    noted: set[int] = set()
    found: set[int] = set()
    for entry in store.entries(f"names/{draft.name}/digests"):
        text, _, digest = entry.partition("-")
        if text.isdecimal() and int(text) in numbers:
            noted.add(int(text))
            found |= {int(text)} if digest == draft.content.digest else set()
    unknown = numbers - noted
    if not unknown:
        return found
    read = [_parsed(draft.name, *one) for one in _records(store, draft.name, unknown).items()]
    versions = [version for version in read if version is not None]
    for version in versions[:_MOST_NOTED]:
        _note(store, version)
    alike = (one for one in versions if isinstance(one, Version))
    return found | {one.version for one in alike if one.content.digest == draft.content.digest}


def _note(store: Store, version: Version | Deleted) -> str:
    """Write down which files a version has; the name of the file."""
    digest = version.content.digest if isinstance(version, Version) else "deleted"
    name = f"names/{version.name}/digests/{version.version}-{digest}"
    store.replace(name, b"\n")
    return name


def _same(store: Store, draft: Version, numbers: set[int]) -> Version | None:
    """The newest of these versions that has the same files, if there is one."""
    for number, data in sorted(_records(store, draft.name, numbers).items(), reverse=True):
        version = _parsed(draft.name, number, data)
        if isinstance(version, Version) and version.content.digest == draft.content.digest:
            return version
    return None


def _parsed(name: str, number: int, data: bytes) -> Version | Deleted | None:
    try:
        return parsed(data, name, number)
    except ValueError:
        return None


def _records(store: Store, name: str, numbers: set[int]) -> dict[int, bytes]:
    """The records of these versions that can be read."""
    found: dict[int, bytes] = {}
    if len(numbers) > _FEW:
        for file, content in store.tree(f"names/{name}/versions").items():
            number = number_of(file)
            if number in numbers and isinstance(content, bytes):
                found[number] = content
        return found
    for number in numbers:
        with contextlib.suppress(TargetError):
            if (data := store.read(record_file(name, number))) is not None:
                found[number] = data
    return found
