"""`amlexec experiment sweep`: begin a sweep or continue one, and print how it ended."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from amlexec import console, in_use
from amlexec.commands import output, sweep_draft, sweep_progress, sweep_view
from amlexec.errors import (
    INTERRUPTED,
    AmlexecError,
    ScriptFailedError,
    TargetError,
    UnreachableError,
    UsageError,
)
from amlexec.runs import snapshot
from amlexec.sweeps import definition as definitions
from amlexec.sweeps import execute, recover, store
from amlexec.sweeps.chooser import Chooser, InOrder
from amlexec.sweeps.driver import Driver, Outcome
from amlexec.sweeps.monitor import EarlyStopMonitor
from amlexec.sweeps.sweep import Sweep, open_again

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from amlexec.sweeps.definition import Definition, SweepTarget
    from amlexec.sweeps.execute import OpenTarget
    from amlexec.values import Project

__all__ = ["sweep"]


def sweep(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment sweep`; the exit code. Raises what its parts raise."""
    if arguments.resume is not None:
        return _resume(project, arguments)
    draft = sweep_draft.draft(project, arguments)
    if arguments.dry_run:
        return _list(draft, arguments.output)
    targets, found = _targets(project, arguments, draft.script)
    with in_use.claimed(project):
        taken = snapshot.take(project, _Warnings())
        jobs = draft.jobs or (execute.AT_ONCE if execute.is_for_arrays(targets) and not _adapts(draft) else 1)
        draft = draft._replace(targets=found, jobs=jobs, snapshot=taken.snapshot, source=taken.source)
        paths, definition, lock = store.create(project, draft)
    try:
        opened = Sweep(project, paths, definition, lock)
    except BaseException:
        lock.release()
        raise
    with opened:
        return _execute(opened, targets, arguments)


def _adapts(draft: Definition) -> bool:
    """Whether points are chosen by the results of others."""
    return draft.search == "optuna"


class _Warnings(execute.Silent):
    def warn(self, line: str) -> None:
        console.Console().warn(line)


def _list(draft: Definition, form: str) -> int:
    """Print the points in their order."""
    points = definitions.points_of(draft)
    if points is None:
        raise UsageError("Optuna chooses each point when it is executed: there is nothing to list")
    if form == "json":
        rows = [
            {"number": index + 1, "parameters": {name: value.value for name, value in points[index]}}
            for index in range(points.size)
        ]
        console.data(output.as_json(rows))
        return 0
    if draft.search == "random":
        console.say(f"random points with --seed {draft.seed}")
    for index in range(points.size):
        console.data(f"{index + 1}  {sweep_view.words(points[index])}")
    console.say(f"{points.size} points")
    return 0


def _targets(
    project: Project, arguments: argparse.Namespace, script: str
) -> tuple[list[OpenTarget], tuple[SweepTarget, ...]]:
    """The targets with their environments ready. Of several, those that can't be reached are left out."""
    names = dict.fromkeys(arguments.run_configuration)
    opened = _reachable(
        (
            name,
            partial(
                execute.prepared,
                *(project, name, arguments.target or "", script, _Warnings()),
                prepare=arguments.prepare,
            ),
        )
        for name in names
    )
    return opened, tuple(each.recorded for each in opened)


def _reachable(openings: Iterable[tuple[str, Callable[[], OpenTarget]]]) -> list[OpenTarget]:
    """The targets that can be opened. Raises UnreachableError if none of them can be reached."""
    opened: list[OpenTarget] = []
    silent: dict[str, UnreachableError] = {}
    for name, opening in openings:
        try:
            opened.append(opening())
        except UnreachableError as error:
            silent[name] = error
    for name, reason in silent.items():
        if not opened:
            raise reason
        console.say(f"warning: {name} is left out: {reason.message}")
    return opened


def _resume(project: Project, arguments: argparse.Namespace) -> int:
    names = ("run_configuration", "target", "random", "optuna", "sampler", "list", "seed", "metric", "goal")
    fixed = (*names, "early_stop", "timeout", "run_timeout", "job")
    if arguments.tail or arguments.script or any(getattr(arguments, name) for name in fixed):
        raise UsageError(
            "a sweep that is continued keeps its definition",
            hint="with --resume, give only --jobs, --fail-fast, --retry, --prepare and --output",
        )
    with open_again(project, store.find(project, arguments.resume)) as opened:
        targets = _reachable(
            (target.configuration, partial(execute.open_target, project, target, prepare=arguments.prepare))
            for target in opened.definition.targets
        )
        if arguments.retry:
            recover.return_failed(opened)
        return _execute(opened, targets, arguments)


def _execute(opened: Sweep, targets: list[OpenTarget], arguments: argparse.Namespace) -> int:
    running, problems = recover.recover(opened)
    chooser, monitor = _chooser(opened)
    with sweep_progress.for_terminal() as shown:
        shown.begin(opened)
        for problem in problems:
            shown.warn(problem)
        outcome = Driver(
            opened,
            targets,
            chooser,
            shown,
            jobs=arguments.jobs or opened.definition.jobs,
            fail_fast=arguments.fail_fast or opened.definition.fail_fast,
            monitor=monitor,
        ).run(running)
    return _finish(opened, outcome, arguments.output)


def _chooser(opened: Sweep) -> tuple[Chooser, EarlyStopMonitor | None]:
    """What chooses the points, and what stops them early."""
    definition = opened.definition
    pruner = None
    if definition.search == "optuna":
        from amlexec.sweeps.optuna_search import OptunaChooser

        pruner = OptunaChooser(opened)
    monitor = None
    if definition.early_stop is not None:
        monitor = EarlyStopMonitor(opened.project, definition, opened.states, pruner)
    return pruner or InOrder(opened), monitor


def _finish(opened: Sweep, outcome: Outcome, form: str) -> int:
    """Print how the sweep ended; the exit code. Raises the error of a sweep that did not complete."""
    definition, states = opened.definition, opened.states
    opened.release()
    if form == "json":
        console.data(output.as_json(sweep_view.describe(opened.paths, definition, states)))
    else:
        for line in sweep_view.ending(opened.paths, definition, states):
            console.data(line)
    again = f"amlexec experiment sweep --resume {definition.id}"
    if outcome.why == "interrupted":
        by_status = sweep_view.counts(definition, states)
        queued = by_status.get("Queued", 0)
        waiting = f" and {queued} wait in the queue" if queued else ""
        console.say(f"interrupted; {by_status.get('Running', 0)} runs go on{waiting}")
        console.say(f"  continue:    {again}")
        console.say(f"  look at it:  amlexec sweep status {definition.id}")
        console.say(f"  cancel them: amlexec sweep cancel {definition.id}")
        return INTERRUPTED
    if (error := _error(outcome, again)) is not None:
        raise error
    failed = sum(
        state.is_over and state.status != "Completed" and not state.is_stopped for state in states.values()
    )
    if failed:
        raise ScriptFailedError(
            f"{failed} of {opened.total} points failed", hint=f"run them again: {again} --retry"
        )
    unknown = sum(not state.is_over for state in states.values())
    if unknown and outcome.why == "done":
        raise TargetError(f"the ends of {unknown} points are not known yet", hint=again)
    return 0


def _error(outcome: Outcome, again: str) -> AmlexecError | None:
    if outcome.error is not None:
        return outcome.error
    if outcome.why == "targets":
        return TargetError(
            f"not all points have ended: {outcome.reason}", hint=f"when it can be used again: {again}"
        )
    if outcome.why in {"failed", "stopped", "timeout"}:
        return ScriptFailedError(f"the sweep was stopped: {outcome.reason}", hint=f"continue it: {again}")
    return None
