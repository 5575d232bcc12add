"""Which environments on a shared engine or machine are a project's own."""

from __future__ import annotations

from amlexec.environments import last_prepared
from amlexec.light_typing import TYPE_CHECKING
from amlexec.owner import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.environments.store import Installed
    from amlexec.values import Project

__all__ = ["ownership"]


def ownership(project: Project) -> Callable[[Installed], bool]:
    """A function that tells whether an environment is the project's own."""
    owner, remembered = owner_of(project), last_prepared.digests(project)

    def is_ours(environment: Installed) -> bool:
        # Another project may have the same name, and a pulled environment has another owner.
        return environment.project == project.name and (
            environment.owner == owner or environment.digest in remembered
        )

    return is_ours
