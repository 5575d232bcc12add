"""The environments that the project's run configurations declare."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from amlexec.config import load as config
from amlexec.environments import last_prepared
from amlexec.errors import AmlexecError

if TYPE_CHECKING:
    from amlexec.values import Project

__all__ = ["environments"]


def environments(project: Project) -> dict[str, set[str]]:
    """The digests by run configuration: those that the files declare, and those that were prepared last.

    A configuration with an error keeps what was prepared last.
    """
    from amlexec.prepare.project import ProjectEnvironments

    refs = ProjectEnvironments(project)
    found: dict[str, set[str]] = {}
    for name in config.run_configurations(project):
        digests = found.setdefault(name, set())
        with contextlib.suppress(AmlexecError, OSError):
            digests.add(refs.ref(name).digest)
        if (last := last_prepared.recall(project, name)) is not None:
            digests.add(last.digest)
        digests.discard("")
    return found
