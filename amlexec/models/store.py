"""Where a registry is: a folder here, a folder on a machine over SSH, or an object store.

All have the same plain files:

    names/NAME/versions/N.json      a version; written once, last of all, and only if no other has that number
    names/NAME/aliases/ALIAS        the number of a version
    names/NAME/tags/N/TAG           the text of a tag
    names/NAME/descriptions/N       a text
    names/NAME/digests/N-DIGEST     which files a version has; made again where it is missing
    contents/DIGEST/…               the files of versions, under their own names
    locks/DIGEST.lock               the resolved locks of the environments that made them

There is no lock: a number is taken by making its file, which only one writer can do. Records alone are true:
the folder of digests only spares reading all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.models.content import Content

__all__ = ["LARGEST", "Store"]

LARGEST = 64 << 20
"""In bytes, of each file but a model's own."""


class Store(Protocol):
    """The files of a registry. Names are relative, with `/`, and were checked."""

    @property
    def place(self) -> str:
        """What messages call it: a path or a URL."""

    def entries(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none if it does not exist. Raises TargetError."""

    def tree(self, folder: str) -> dict[str, bytes | OSError]:
        """All files below a folder by relative path; an error for each that can't be read.

        Raises:
            TargetError: the folder can't be read.
        """

    def read(self, name: str) -> bytes | None:
        """A file; None if it does not exist. Raises TargetError."""

    def create(self, name: str, content: bytes) -> bool:
        """Make a file, whole, unless it exists; whether it was made. Raises TargetError."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, so that readers see the old or the new one. Raises TargetError."""

    def remove(self, name: str) -> None:
        """Remove a file; a missing one is no error. Raises TargetError."""

    def put(self, content: Content, source: Path) -> None:
        """Store the files of a model, which is at `source`. Idempotent.

        Raises:
            TargetError: it can't be written, or `source` has changed since `content` was read.
        """

    def fetched(self, content: Content) -> Path:
        """A local folder with the files, compared with their digests.

        Raises:
            TargetError: files are missing or were changed, or can't be read.
        """

    def holds(self, content: Content) -> bool:
        """Whether the files are there; they are not read. Raises TargetError."""

    def drop(self, digest: str, is_needed: Callable[[], bool]) -> None:
        """Remove the files of a model, unless `is_needed`. Raises TargetError."""
