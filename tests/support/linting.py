"""What lint says of a whole project, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.config.lint import Linter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.values import Project, Violation

__all__ = ["declarations", "violations"]


def declarations(project: Project) -> list[str]:
    """The project's declarations, sorted, relative to its root."""
    return sorted(Linter(project).kinds())


def violations(project: Project, only: Iterable[str] | None = None) -> list[Violation]:
    """Every violation in the project's files, sorted; `only` limits it to files."""
    linter = Linter(project)
    kinds = linter.kinds()
    return linter.check(kinds if only is None else {file: kinds.get(file, "") for file in only})
