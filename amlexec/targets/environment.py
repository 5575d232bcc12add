"""Makes the environment of a run ready or refuses the run, for all targets that amlexec prepares."""

from __future__ import annotations

from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore
    from amlexec.prepare.prepare import Readiness
    from amlexec.values import Plan, Project

__all__ = ["ensure", "resolved_lock_of"]


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


def resolved_lock_of(project: Project, environment: Readiness | None, store: EnvironmentStore | None) -> str:
    """The name of an environment's resolved lock, which is then on this computer; "" if it has none.

    An environment that another computer or project has built carries its lock.

    Raises:
        TargetError: the target can't be asked, or the environment lacks what it names.
    """
    if environment is None or store is None or not environment.lock:
        return ""
    from amlexec.environments import resolved_lock

    if not resolved_lock.is_name(environment.lock):
        return ""
    if not resolved_lock.path_of(project, environment.lock).exists():
        kept = store.get(environment.digest)
        if kept is None or kept.lock != environment.lock:
            return ""
        resolved_lock.keep(project, store.lock_of(kept))
    return environment.lock
