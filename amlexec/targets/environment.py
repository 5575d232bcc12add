"""Makes the environment of a run ready or refuses the run, for all targets that amlexec prepares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore
    from amlexec.model import Plan
    from amlexec.prepare.prepare import Readiness

__all__ = ["ensure"]


def ensure(plan: Plan, store: EnvironmentStore | None) -> Readiness | None:
    """The environment of a plan, built if the plan asks for it; None if the user manages it.

    `store` is where the plan's target keeps its environments (`Target.store`).

    An environment that was prepared for this plan is used without reading the files again, unless it has been
    removed since.

    Raises:
        ConfigurationError: the dependencies have errors or can't be solved.
        TargetError: the environment is not ready and must not be built, or the build failed.
    """
    if store is None:
        return None
    from amlexec.prepare import prepare as preparation

    made = store.get(plan.environment_digest) if plan.environment_digest else None
    if made is not None:
        return preparation.ready(made, f"up to date: {store.exists_message(made.digest)}")
    wanted = preparation.wanted(
        plan.project,
        plan.configuration,
        plan.target,
        plan.conda_dependencies_file,
        plan.spark_dependencies_file if plan.framework == "PySpark" else "",
    )
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
