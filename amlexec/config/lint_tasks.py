"""Lint as one doit task per file: each file is read once, and checked again only after a change."""

from __future__ import annotations

import os

from amlexec import __version__
from amlexec.config import declared, schemas
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from amlexec.config.lint import Linter
    from amlexec.values import Project, Violation

__all__ = ["Linting"]

State = list[int] | None
"""The size of a file in bytes and its modification time in nanoseconds; None if it does not exist."""


class Linting:
    """The files of one project, checked when their tasks run."""

    def __init__(self, project: Project) -> None:
        """Finds the files; reads only run configurations that have changed."""
        self._project = project
        self._made: Linter | None = None
        self.kinds: Mapping[str, str] = {}
        """The declarations, relative to the project's root, with their kinds."""
        self.kinds = declared.kinds(project, lambda path: self._linter().referred(path))
        self._printed: set[Violation] = set()
        self._seen: dict[str, State] = {}
        self._rules = ""

    def report(self, file: str) -> int:
        """Check one file, relative to the project's root, and print its violations; returns the exit code."""
        from amlexec.config import lint

        found = self._linter().check({file: self.kinds[file]})
        # A file that two others refer to is reported once.
        new = [violation for violation in found if violation not in self._printed]
        self._printed.update(new)
        lint.report(new)
        return lint.exit_code(found)

    def verdict(self, file: str) -> Callable[[Any, dict[str, Any]], bool]:
        """A doit `uptodate` check: is everything else that the last result depended on unchanged?"""

        def check(task: Any, values: dict[str, Any]) -> bool:
            task.value_savers.append(
                lambda: {"rules": self._current_rules(), "looked": self._dependencies(file)}
            )
            if values.get("rules") != self._current_rules():
                return False
            return all(self._is_same(*dependency) for dependency in values.get("looked") or ())

        return check

    def _linter(self) -> Linter:
        if self._made is None:
            from amlexec.config import lint

            self._made = lint.Linter(self._project)
        return self._made

    def _dependencies(self, file: str) -> list[tuple[str, State, str]]:
        if self._made is None:
            return []
        looked = self._made.looked_at(file)
        return [(path, self._state(path), self._made.relevant_part(path)) for path in looked]

    def _is_same(self, path: str, state: State, part: str) -> bool:
        """Whether a file is unchanged, or at least the values that mattered."""
        return self._state(path) == state or (bool(part) and self._linter().relevant_part(path) == part)

    def _state(self, path: str) -> State:
        if path not in self._seen:
            try:
                found = os.stat(path)  # noqa: PTH116 - thousands of them
            except OSError:
                self._seen[path] = None
            else:
                self._seen[path] = [found.st_size, found.st_mtime_ns]
        return self._seen[path]

    def _current_rules(self) -> str:
        """The digest of what files are checked against: the schemas and the version of amlexec."""
        if not self._rules:
            from hashlib import sha256

            digest = sha256(__version__.encode())
            for kind in schemas.KINDS:
                digest.update(schemas.text(kind))
            self._rules = digest.hexdigest()
        return self._rules
