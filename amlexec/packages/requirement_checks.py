"""Check the lines of a pip section by the rules of `requirements.read`, without reading packages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec import digest
from amlexec.packages import requirement_paths as paths
from amlexec.packages.requirements import RequirementReader
from amlexec.packages.urls import unset_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amlexec.model import Line, Place, Violation

__all__ = ["look", "problems"]


def problems(lines: Sequence[Line]) -> list[Violation]:
    """The violations in the lines of a pip section alone. No I/O."""
    reader = _Syntax("", "", {}, lambda _: ())
    reader.take_all(lines, "")
    return reader.violations


def look(
    root: str,
    lines: Sequence[Line],
    *,
    shared: str | None,
    environment: Mapping[str, str] | None = None,
    sources: Callable[[str], Sequence[str]] = digest.sources,
) -> tuple[list[Violation], tuple[str, ...]]:
    """The violations that `read` would find, and the files that it would read, absolute. Reads no package.

    Arguments as in `read`; `shared` is None if it is unknown whether the target has a shared folder: then
    files in it are assumed to exist.
    """
    variables = os.environ if environment is None else environment
    reader = _Looker(root, shared or "", variables, sources, any_share=shared is None)
    reader.take_all(lines, root)
    return reader.violations, tuple(sorted(reader.files))


class _Looker(RequirementReader):
    """Follows references, but reads no package."""

    def __init__(
        self,
        root: str,
        shared: str,
        environment: Mapping[str, str],
        sources: Callable[[str], Sequence[str]],
        *,
        any_share: bool,
    ) -> None:
        super().__init__(root, shared, environment, sources)
        self._any_share = any_share

    def take(self, text: str, place: Place, folder: str, parents: tuple[str, ...], kind: str = "") -> None:
        if self._any_share and paths.SHARE in text:
            return
        super().take(text, place, folder, parents, kind)

    def _content_of_packages(self, path: str) -> str:
        paths.must_hold_packages(path, self.finder.shown(path))
        return ""

    def _measured(self, path: str) -> paths.Measured:
        paths.must_be_installable(path, self.finder.shown(path), self.sources)
        return paths.Measured("")


class _Syntax(RequirementReader):
    """Checks only the lines."""

    def take(self, text: str, place: Place, folder: str, parents: tuple[str, ...], kind: str = "") -> None:
        # Values of variables are not known here.
        if not unset_variables(text, {}):
            super().take(text, place, folder, parents, kind)

    def _file(self, value: str, folder: str, parents: tuple[str, ...], kind: str) -> None:
        pass

    def _folder_of_packages(self, value: str, place: Place, folder: str) -> None:
        pass

    def _local(
        self, value: str, extras: str, marker: str, place: Place, folder: str, kind: str, options: str = ""
    ) -> None:
        pass
