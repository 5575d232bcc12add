"""The environment that a run needs, ready or refused: asked once for all targets that amlexec prepares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.prepare import prepare as preparation

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore
    from amlexec.model import Plan
    from amlexec.prepare.prepare import Readiness, Wanted

__all__ = ["ensure"]


def ensure(plan: Plan, wanted: Wanted, store: EnvironmentStore) -> Readiness:
    """The environment of a plan, made ready where the plan says so.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: it is not ready and is not to be prepared, or can't be.
    """
    found = preparation.readiness(wanted, store)
    if found.ready:
        return found
    if not plan.prepare_environment:
        raise TargetError(
            f"the environment of {plan.configuration} is not ready: {found.reason}",
            where=plan.target.name,
            hint=f"{plan.prepare_command}, or submit with --prepare",
        )
    from amlexec import progress
    from amlexec.images import registry

    with progress.for_terminal() as shown:
        return preparation.prepare(wanted, store, shown, pull_from=registry.place())
