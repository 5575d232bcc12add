"""From many plans to recorded runs that are submitted together, as one job array.

The plans differ by their arguments and their variables only. All records are made before anything starts, and
say `Preparing` until the target has all files: so whoever finds them after a crash knows, or asks the target,
what has begun.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple, cast

from amlexec import in_use
from amlexec.errors import AmlexecError, UnreachableError
from amlexec.history import folders
from amlexec.runs import many, submit
from amlexec.runs.control_log import note
from amlexec.runs.new_run import new_record
from amlexec.targets.environment import ensure, resolved_lock_of
from amlexec.targets.registry import runs_on
from amlexec.targets.slurm_array import Element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.runs.snapshot import TakenSnapshot
    from amlexec.targets.slurm import SlurmTarget
    from amlexec.targets.target import Launch
    from amlexec.values import Plan, Project

__all__ = ["Submitted", "begin", "target_of"]


class Submitted(NamedTuple):
    """The runs of an array."""

    name: str
    """Of the array."""
    job: str
    """Its number."""
    runs: list[tuple[RunPaths, Run]]


def target_of(plan: Plan) -> SlurmTarget:
    """The target of a plan, whose kind `has_many_runs`. Raises as `runs_on` does."""
    return cast("SlurmTarget", runs_on(plan.target, plan.project))


def begin(target: SlurmTarget, plans: Sequence[Plan], taken: TakenSnapshot, at_once: int) -> Submitted:
    """Submit the plans as one array, of which `at_once` elements run at a time.

    Raises:
        UnreachableError: it may have been submitted; the records say `Starting`, or `Preparing` if it wasn't.
        AmlexecError, OSError: nothing was submitted, and there are no records.
    """
    first = plans[0]
    submit.learn_secrets(first)
    submit.script_in(first.project, first.script, first.project.root)
    with ExitStack() as claim:
        claim.enter_context(in_use.claimed(first.project))
        store = target.store(first)
        environment = ensure(first, store)
        launches = target.check_many(plans, environment)
        resolved = resolved_lock_of(first.project, environment, store)
        records = [new_record(plan, launch, resolved) for plan, launch in zip(plans, launches, strict=True)]
        made, held = folders.create_many(first.project, records, int(time.time() * 1000))
        try:
            return _submitted(target, list(zip(plans, launches, strict=True)), made, taken, at_once)
        except UnreachableError:
            raise  # only the target knows whether it has begun
        except BaseException:
            folders.release_many(made, held)
            _undo(first.project, target, made)
            raise
        finally:
            folders.release_many(made, held)


def _submitted(
    target: SlurmTarget,
    plans: list[tuple[Plan, Launch]],
    made: list[tuple[RunPaths, Run]],
    taken: TakenSnapshot,
    at_once: int,
) -> Submitted:
    name = f"{made[0][1].run_id}.points"
    elements = [
        Element(paths, *each, run._replace(status="Starting", snapshot=taken.snapshot, source=taken.source))
        for each, (paths, run) in zip(plans, made, strict=True)
    ]
    target.stage_many(name, elements, taken.snapshot.tree)
    started = [(each.paths, each.run) for each in elements]
    folders.write_many(started)
    job = target.start_many(name, elements, at_once)
    for number, (paths, _) in enumerate(started):
        note(paths, f"submitted as the job {job}_{number}, in {name}")
    return Submitted(name, job, started)


def _undo(project: Project, target: SlurmTarget, made: list[tuple[RunPaths, Run]]) -> None:
    """Remove runs that were not submitted. What can't be removed now is found by its record later."""
    with suppress(AmlexecError, OSError):
        many.withdraw(project, target, [run.run_id for _, run in made])
