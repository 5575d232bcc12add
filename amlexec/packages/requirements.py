"""Read a pip section: its lines, and the content of everything that they refer to.

The format is pip's, https://pip.pypa.io/en/stable/reference/requirements-file-format/. Lines of the conda
dependencies file are relative to the project's root, lines of a requirements file to that file's folder.
A reference that can't be followed is an error that names the line; nothing is skipped silently.
"""

from __future__ import annotations

import os
import re

from amlexec import digest
from amlexec.errors import ConfigurationError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.packages import requirement_errors as wrong
from amlexec.packages import requirement_paths as paths
from amlexec.packages import requirement_syntax as syntax
from amlexec.packages.urls import Secret, expand, expand_public, is_address, is_readable, public
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from amlexec.dependencies import Line

__all__ = ["RequirementEntry", "RequirementReader", "Requirements", "read"]


# ruff: noqa: PTH113, PTH119, PTH120 - pathlib costs a run 3 ms

_TRANSPORT_OPTIONS = frozenset(["--trusted-host", "--use-feature"])
"""Options that affect how files are fetched, not what is installed."""
_MOST_VIOLATIONS = 100
"""In one file; a file with more errors is probably of another format."""
_PINNED = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\s*==\s*((?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*))?"
)
"""The most common lines. Parsing them by `packaging` would cost its import, 30 ms."""


class RequirementEntry(NamedTuple):
    """One requirement or option of the pip section, or of a file that it includes."""

    kind: str
    """`requirement`, `address`, `file`, `tree`, `editable`, `option`, `transport`; or `constraint-...`."""
    text: str
    """The canonical spelling, without secrets and independent of the place."""
    place: Place
    raw: Secret
    """The line for pip or uv, paths absolute, with passwords."""
    content: str = ""
    """The digest of a file, of the sources in a folder, or of the packages in one."""
    manifest: str = ""
    """For a folder with sources: the digest of the files that may decide its dependencies."""
    path: str = ""
    """The file or folder on this machine, absolute."""
    files: tuple[str, ...] = ()
    """For a folder with sources: the files that are installed, relative to it."""

    @property
    def is_constraint(self) -> bool:
        """Whether it is a constraint: it installs nothing, but limits versions."""
        return self.kind.startswith("constraint-")

    @property
    def name(self) -> str:
        """The normalised name of a package that is given by name; "" for other entries."""
        match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.text)
        return syntax.normalised(match[0]) if match and self.kind.endswith(("requirement", "address")) else ""


class Requirements(NamedTuple):
    """A pip section with everything that it refers to."""

    entries: tuple[RequirementEntry, ...] = ()
    files: tuple[str, ...] = ()
    """Every file that was read for it, absolute, sorted; for a folder with sources, the folder."""


def read(
    root: str,
    lines: Sequence[Line],
    *,
    shared: str = "",
    environment: Mapping[str, str] | None = None,
    sources: Callable[[str], Sequence[str]] = digest.sources,
) -> Requirements:
    """Read the lines of a pip section and follow their references.

    `root` is the project's folder; `shared` is the folder on this machine that containers see as
    `/azureml-share/`, or "". `sources` lists the files of a folder with sources that are installed.

    Raises:
        ConfigurationError: with every line that is invalid or can't be followed.
    """
    if not lines:
        return Requirements()
    reader = RequirementReader(root, shared, os.environ if environment is None else environment, sources)
    reader.take_all(lines, root)
    if reader.violations:
        first = min(reader.violations)
        raise ConfigurationError(
            first.message, hint=first.hint, where=str(first.place), violations=reader.violations
        )
    return Requirements(tuple(reader.entries), tuple(sorted(reader.files)))


class RequirementReader:
    """Collects the entries and violations of lines."""

    def __init__(
        self,
        root: str,
        shared: str,
        environment: Mapping[str, str],
        sources: Callable[[str], Sequence[str]],
    ) -> None:
        self.finder = paths.Finder(root, shared)
        self.sources = sources
        self.environment = environment
        self.entries: list[RequirementEntry] = []
        self.files: set[str] = set()
        self.violations: list[Violation] = []

    def take_all(self, lines: Sequence[Line], root: str) -> None:
        """Read the lines of a pip section, which are relative to `root`."""
        for line in lines:
            for _, _, text in syntax.logical(line.text):
                self.take(text, line.place, root, ())

    def take(self, text: str, place: Place, folder: str, parents: tuple[str, ...], kind: str = "") -> None:
        """Read one logical line; `parents` are the including files, `kind` is `constraint-` inside `-c`."""
        # As in pip: comments first. Variables in logins are expanded only for pip, see `_add`.
        text = expand_public(syntax.without_comment(text), self.environment)
        if not text or len(self.violations) >= _MOST_VIOLATIONS:
            return
        try:
            if text.startswith("-"):
                self._options(text, place, folder, parents, kind)
            else:
                self._requirement(text, place, folder, kind)
        except paths.BadLineError as error:
            self.violations.append(Violation(place, "error", str(error), error.hint))

    def _options(self, text: str, place: Place, folder: str, parents: tuple[str, ...], kind: str) -> None:
        for name, value in syntax.split_options(text):
            if name in {"--requirement", "--constraint"}:
                deeper = "constraint-" if name == "--constraint" else kind
                self._file(value, folder, parents, deeper)
            elif name == "--editable":
                self._editable(value, place, folder, kind)
            elif name == "--find-links" and not _is_remote(expand(value, self.environment)):
                self._folder_of_packages(value, place, folder)
            else:
                if value and is_address(value) and not is_readable(value):
                    raise _unreadable(name)
                if name not in _TRANSPORT_OPTIONS:
                    text = f"{name} {public(value)}".strip()
                    self._add("option", text, place, f"{name} {value}".strip())
                else:
                    self._add("transport", name, place, f"{name} {value}")

    def _add(self, kind: str, text: str, place: Place, raw: str, **more: Any) -> None:
        self.entries.append(
            RequirementEntry(kind, text, place, Secret(expand(raw, self.environment)), **more)
        )

    def _file(self, value: str, folder: str, parents: tuple[str, ...], kind: str) -> None:
        value = expand(value, self.environment)
        if _is_remote(value):
            raise paths.BadLineError(
                f"{public(value)} is on another machine, so changes to it can't be detected",
                "copy the file into the project and name that",
            )
        path = self.finder.find(value, folder)
        if not os.path.isfile(path):
            raise paths.BadLineError(f"there is no file {self.finder.shown(path)}", paths.relative_to(folder))
        if path in parents:
            chain = " -> ".join(self.finder.shown(file) for file in (*parents[parents.index(path) :], path))
            raise paths.BadLineError(f"requirements files include each other in a circle: {chain}")
        self.files.add(path)
        for number, column, text in syntax.logical_lines(path, self.finder.shown(path)):
            here = Place(self.finder.shown(path), number, column)
            self.take(text, here, os.path.dirname(path), (*parents, path), kind)

    def _folder_of_packages(self, value: str, place: Place, folder: str) -> None:
        path = self.finder.find(expand(value, self.environment), folder)
        content = self._content_of_packages(path)
        self.files.add(path)
        self._add("option", "--find-links", place, f"--find-links {path}", content=content, path=path)

    def _content_of_packages(self, path: str) -> str:
        return paths.digest_of_packages(path, self.finder.shown(path))

    def _measured(self, path: str) -> paths.Measured:
        return paths.measure(path, self.finder.shown(path), self.sources)

    def _editable(self, value: str, place: Place, folder: str, kind: str) -> None:
        if _is_remote(value):
            self._address("", value, "", place, kind)
            return
        target, extras, marker = syntax.parts(value)
        self._local(target, extras, marker, place, folder, f"{kind}editable")

    def _requirement(self, text: str, place: Place, folder: str, kind: str) -> None:
        requirement, options = syntax.split_line_options(text)
        wrong.must_be_text(requirement)
        match = _PINNED.fullmatch(requirement)
        if match is not None and not paths.is_archive(requirement):
            pinned = syntax.normalised(match[1]) + (f"=={match[2]}" if match[2] else "")
            self._add(f"{kind}requirement", " ".join([pinned, *options]), place, text)
            return
        bare, extras, marker = syntax.parts(requirement)
        if _is_remote(bare):
            self._address("", requirement, " ".join(options), place, kind, text)
        elif paths.looks_local(bare):
            self._local(bare, extras, marker, place, folder, f"{kind}tree", " ".join(options))
        else:
            self._named(requirement, options, place, folder, kind)

    def _named(self, text: str, options: list[str], place: Place, folder: str, kind: str) -> None:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(wrong.of_bounded_length(text))
        except (InvalidRequirement, RecursionError) as error:
            raise wrong.no_requirement(text) from error
        requirement.name = syntax.normalised(requirement.name)
        names = sorted(syntax.normalised(extra) for extra in requirement.extras)
        extras = f"[{','.join(names)}]" if names else ""
        marker = f" ; {requirement.marker}" if requirement.marker else ""
        if requirement.url:
            if requirement.url.startswith("file:"):
                wrong.must_be_from_here(text, requirement.url)
                self._local(requirement.url, extras, marker, place, folder, f"{kind}tree", " ".join(options))
            else:
                name = f"{requirement.name}{extras} @ "
                self._address(name, f"{requirement.url}{marker}", " ".join(options), place, kind)
            return
        canonical = f"{requirement.name}{extras}{requirement.specifier}{marker}"
        self._add(f"{kind}requirement", " ".join([canonical, *options]), place, " ".join([text, *options]))

    def _address(self, name: str, text: str, options: str, place: Place, kind: str, raw: str = "") -> None:
        address, _, marker = text.partition(" ;")
        if not is_readable(address):
            raise _unreadable("this line")
        marker = f" ; {marker.strip()}" if marker else ""
        canonical = f"{name}{public(address)}{marker} {options}".rstrip()
        self._add(f"{kind}address", canonical, place, raw or f"{name}{text} {options}".rstrip())

    def _local(
        self, value: str, extras: str, marker: str, place: Place, folder: str, kind: str, options: str = ""
    ) -> None:
        path = self.finder.find(expand(value, self.environment), folder)
        measured = self._measured(path)
        self.files.add(path)
        name = ""
        if not measured.manifest:
            kind = kind.replace("tree", "file").replace("editable", "file")
            # The name of a wheel counts; a folder's name does not, its files name the package.
            name = os.path.basename(path)
        text = f"{name}{extras}{marker} {options}".rstrip()
        flag = "-e " if kind.endswith("editable") else ""
        raw = f"{flag}{path}{extras}{marker} {options}".rstrip()
        self._add(kind, text, place, raw, path=path, **measured._asdict())


def _is_remote(text: str) -> bool:
    return is_address(text) and not text.startswith("file:")


def _unreadable(what: str) -> paths.BadLineError:
    return paths.BadLineError(
        f"the address of {what} is ambiguous: it is unclear where the host begins",
        "write `/`, `@` and `#` in a password as %2F, %40 and %23",
    )
