"""The environment of a remote target that amlexec prepares: ready or not, and how a run gets into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.prefixes.remote_prefix import NAME_LENGTH
from amlexec.prefixes.store import PrefixStore
from amlexec.prepare import prepare as preparation
from amlexec.targets.environment import ensure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.model import Plan, Project
    from amlexec.prepare.prepare import Readiness, Wanted
    from amlexec.ssh.connection import SSHConnection

__all__ = ["Managed", "variables"]


class Managed:
    """The environment of a plan, on the machine that it is to run on."""

    def __init__(self, project: Project, plan: Plan, connection: SSHConnection) -> None:
        """What the files declare. Nobody is asked.

        Raises:
            ConfigurationError: they are wrong.
        """
        self._plan = plan
        self._store = PrefixStore(connection)
        self._wanted: Wanted = preparation.wanted(
            project, plan.configuration, plan.target, plan.conda_dependencies_file
        )

    @property
    def name(self) -> str:
        """What its folder is called."""
        return self._wanted.digest[:NAME_LENGTH]

    def ready(self, known: Mapping[str, str]) -> Readiness:
        """The environment, prepared where the plan says so; `known` is what `look` has told of it.

        Raises:
            ConfigurationError: the dependencies can't be fulfilled.
            TargetError: it is not ready and is not to be prepared, or can't be.
        """
        self._store.learn(self._wanted.digest, f"{known.get('environment', '')}\n{known.get('marker', '')}\n")
        return ensure(self._plan, self._wanted, self._store)


def variables(prefix: str, path: str) -> dict[str, str]:
    """What is different in an environment that is activated; `path` is the machine's PATH."""
    return {"PATH": f"{prefix}/bin:{path}", "CONDA_PREFIX": prefix}
