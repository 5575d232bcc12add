"""Lint as a doit task per file does it: each file is read once, and checked again only for a reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from amlexec import __version__
from amlexec.config import declared, schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amlexec.config.lint import Linter
    from amlexec.model import Project, Violation

__all__ = ["Linting"]

State = list[int] | None
"""Of a file: its size in bytes and its time in nanoseconds; None where it is not there."""


class Linting:
    """The files of one project, checked when their tasks run."""

    def __init__(self, project: Project) -> None:
        """Finds the files; of the run configurations, those are read that have changed."""
        self._project = project
        self._made: Linter | None = None
        self.kinds: Mapping[str, str] = {}
        """The declarations, relative to the project's root, with their kinds."""
        self.kinds = declared.kinds(project, lambda path: self._linter().referred(path))
        self._said: set[Violation] = set()
        self._seen: dict[str, State] = {}
        self._rules = ""

    def report(self, file: str) -> int:
        """Check one file, relative to the project's root, and say what is wrong; the exit code."""
        from amlexec.config import lint

        found = self._linter().check({file: self.kinds[file]})
        # What two files refer to is wrong once.
        new = [one for one in found if one not in self._said]
        self._said.update(new)
        lint.report(new)
        return lint.exit_code(found)

    def verdict(self, file: str) -> Callable[[Any, dict[str, Any]], bool]:
        """Whether what the last verdict on a file followed from, besides the file itself, is as it was."""

        def check(task: Any, values: dict[str, Any]) -> bool:
            task.value_savers.append(lambda: {"rules": self._current_rules(), "looked": self._reasons(file)})
            if values.get("rules") != self._current_rules():
                return False
            return all(self._is_same(*one) for one in values.get("looked") or ())

        return check

    def _linter(self) -> Linter:
        if self._made is None:
            from amlexec.config import lint

            self._made = lint.Linter(self._project)
        return self._made

    def _reasons(self, file: str) -> list[tuple[str, State, str]]:
        if self._made is None:
            return []
        looked = self._made.looked_at(file)
        return [(path, self._state(path), self._made.told_by(path)) for path in looked]

    def _is_same(self, path: str, state: State, told: str) -> bool:
        """Whether a file is as it was, or still says what counted, though something else in it is new."""
        return self._state(path) == state or (bool(told) and self._linter().told_by(path) == told)

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
        """What files are checked against, as one word: the schemas and our version."""
        if not self._rules:
            from hashlib import sha256

            digest = sha256(__version__.encode())
            for kind in schemas.KINDS:
                digest.update(schemas.text(kind))
            self._rules = digest.hexdigest()
        return self._rules
