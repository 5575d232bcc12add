"""Run a recorded run again: its snapshot, environment (by its resolved lock), arguments and variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from amlexec import in_use
from amlexec.config import load as config
from amlexec.errors import AmlexecError, ConfigurationError, TargetError
from amlexec.plan import plan
from amlexec.runs import rerun_arguments
from amlexec.runs import submit as submission
from amlexec.runs.follow import follow
from amlexec.runs.repeat import Repeat, must_be_runnable
from amlexec.runs.rerun_sources import Sources
from amlexec.snapshots import read as snapshots
from amlexec.targets.registry import runs_on
from amlexec.values import Declaration, Detached, Place, RunConfiguration, WantedModel

if TYPE_CHECKING:
    from amlexec.environments.store import EnvironmentStore
    from amlexec.history.record import Run
    from amlexec.runs.talk import Talk
    from amlexec.values import Plan, Project

__all__ = ["Overrides", "rerun"]


class Overrides(NamedTuple):
    """What the user wants to be other than in the run."""

    target: str = ""
    """The compute target; "" for the run's."""
    arguments: tuple[str, ...] = ()
    """Options in place of recorded ones of the same name."""
    is_replacing: bool = False
    """Whether `arguments` are all arguments."""
    is_accepting: bool = False
    """Whether what can't be as it was is accepted."""


def rerun(
    project: Project, run: Run, overrides: Overrides, talk: Talk, *, detach: bool = False
) -> Run | Detached:
    """Run a recorded run again; the finished run, or a `Detached` if it goes on without this process.

    Everything that can't be as it was is found, and reported at once, before anything is built or started.

    Raises:
        ConfigurationError, UsageError: nothing was created.
        TargetError: something can't be as it was, and that is not accepted; or the run could not be started.
    """
    if run.snapshot is None:
        raise TargetError(
            f"{run.run_id} has no snapshot: it ended before one was taken",
            hint="submit the script again: amlexec experiment submit",
        )
    try:
        must_be_runnable(run)
    except ValueError as error:
        raise TargetError(f"the record of {run.run_id} can't be repeated: {error}") from None
    if not snapshots.exists(project, run.snapshot.tree):
        raise TargetError(
            f"the snapshot of {run.run_id} no longer exists: {run.snapshot.tree[:12]}",
            hint="a bundle of the run has it: amlexec history import FILE.tar",
        )
    arguments = rerun_arguments.overridden(run, overrides.arguments, replace=overrides.is_replacing)
    # Until the new record names the environment and the snapshot, they must not be removed.
    with in_use.claimed(project), Sources(project, run.snapshot.tree) as sources:
        declaration = _declaration(project, run, overrides.target, sources)
        planned = plan(declaration, run.script_name, arguments, environment=os.environ)
        repeat = Repeat(run, is_accepted=overrides.is_accepting)
        repeat, planned = _with_environment(planned, declaration, repeat, sources, talk)
        begun = submission.begin(planned, talk, quiet=detach, repeat=repeat, is_followed=not detach)
    if detach:
        return Detached(begun.run.run_id, "async")
    return follow(project, begun.paths, begun.run, talk, end_pipe=begun.end_pipe, target=begun.target)


def _declaration(project: Project, run: Run, target: str, sources: Sources) -> Declaration:
    """What the run executed, on a target as it is declared now.

    The files of the snapshot are read where the project has no such run configuration or target any more, and
    for whatever is installed.
    """
    try:
        now = config.load(project, run.run_configuration, target or run.target)
    except ConfigurationError:
        try:
            now = config.load(sources.project, run.run_configuration, target or run.target)
        except AmlexecError:
            now = _target_alone(project, run, target or run.target)
    declared = dict(now.run_configuration.environment_variables)
    configuration = now.run_configuration._replace(
        framework=run.framework,
        argument_vector=(),
        environment_variables=rerun_arguments.variables(run, declared, os.environ),
        prepare_environment=False,
        tracked_run=True,
        # Those versions, whatever their aliases mean now.
        models=tuple(
            WantedModel(reference, now.run_configuration.place, version)
            for reference, version in run.models.items()
        ),
    )
    # Notes are about files as they are now.
    return now._replace(run_configuration=configuration, notes=())


def _target_alone(project: Project, run: Run, target: str) -> Declaration:
    """A declaration for a run whose run configuration is nowhere: defaults, and a target of the project."""
    configuration = RunConfiguration(run.run_configuration, Place(run.run_configuration), target)
    return Declaration(project, configuration, config.load_target(project, target))


def _with_environment(
    planned: Plan, declaration: Declaration, repeat: Repeat, sources: Sources, talk: Talk
) -> tuple[Repeat, Plan]:
    """The plan with the run's environment, which is then ready, and what differs."""
    run = repeat.run
    store = runs_on(declaration.compute_target, planned.project).store(planned)
    if store is None:
        repeat = repeat.without_environment(declaration.compute_target.name)
        repeat.must_be_accepted()
    else:
        repeat, digest = _prepared(declaration, repeat, store, sources, talk)
        planned = planned._replace(environment_digest=digest)
    if run.framework == "PySpark":
        file = sources.configuration(run, declaration).spark_dependencies_file
        planned = planned._replace(project=sources.project, spark_dependencies_file=file)
    return repeat, planned


def _prepared(
    declaration: Declaration, repeat: Repeat, store: EnvironmentStore, sources: Sources, talk: Talk
) -> tuple[Repeat, str]:
    """The digest of the run's environment, which is then ready, and what differs."""
    from amlexec import progress
    from amlexec.runs import rerun_environment

    run = repeat.run
    with progress.for_terminal() as shown:
        found = rerun_environment.find(run, declaration, store, sources, shown)
        repeat = repeat._replace(differences=found.differences)
        repeat.must_be_accepted()
        if found.wanted is not None:
            from amlexec.images import registry
            from amlexec.prepare import prepare as preparation

            talk.say(f"building the environment of {run.run_id} again")
            preparation.prepare(found.wanted, store, shown, pull_from=registry.place(), is_last=False)
    return repeat, found.digest
