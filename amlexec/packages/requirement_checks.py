"""What the lines of a pip section refer to, and what is wrong with them, without reading packages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import digest
from amlexec.packages import requirement_paths as paths
from amlexec.packages.requirements import RequirementReader
from amlexec.packages.urls import expand, is_address, unset_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amlexec.dependencies import Line
    from amlexec.values import Place, Violation

__all__ = ["References", "look", "problems", "references"]


class References(NamedTuple):
    """Files and folders that lines refer to: absolute, sorted; they may not be there."""

    requirements: tuple[str, ...] = ()
    """Files of `-r` and `-c`."""
    packages: tuple[str, ...] = ()
    """Wheels, packed sources, and folders with the sources of a package."""
    links: tuple[str, ...] = ()
    """Folders of `--find-links`, and files."""


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


def references(
    root: str, lines: Sequence[Line], *, shared: str | None, environment: Mapping[str, str] | None = None
) -> References:
    """What lines refer to. Lines that are wrong are left out. Arguments as of `look`."""
    variables = os.environ if environment is None else environment
    reader = _Collector(root, shared or "", variables, digest.sources, any_share=shared is None)
    reader.take_all(lines, root)
    return References(*(tuple(sorted(found)) for found in (reader.led_to, reader.packages, reader.links)))


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


class _Collector(_Looker):
    """Collects what lines refer to, there or not."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.led_to: set[str] = set()
        self.packages: set[str] = set()
        self.links: set[str] = set()

    def _file(self, value: str, folder: str, parents: tuple[str, ...], kind: str) -> None:
        named = expand(value, self.environment)
        if not is_address(named) or named.startswith("file:"):
            self.led_to.add(self.finder.find(named, folder))
        super()._file(value, folder, parents, kind)

    def _content_of_packages(self, path: str) -> str:
        self.links.add(path)
        return ""

    def _measured(self, path: str) -> paths.Measured:
        self.packages.add(path)
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
