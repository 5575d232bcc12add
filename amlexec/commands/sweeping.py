"""`amlexec experiment sweep`: begin a sweep or continue one, and print how it ended."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console, in_use
from amlexec.commands import output, sweep_progress, sweep_view
from amlexec.errors import (
    INTERRUPTED,
    AmlexecError,
    ScriptFailedError,
    TargetError,
    UnreachableError,
    UsageError,
)
from amlexec.history.record import instant
from amlexec.runs import submit as submission
from amlexec.search.grammar import BadValuesError
from amlexec.sweeps import definition as definitions
from amlexec.sweeps import execute, point_files, recover, store
from amlexec.sweeps.arguments import swept
from amlexec.sweeps.chooser import InOrder
from amlexec.sweeps.driver import Driver, Outcome
from amlexec.sweeps.sweep import Sweep, open_again

if TYPE_CHECKING:
    import argparse

    from amlexec.model import Project
    from amlexec.sweeps.definition import Definition, SweepTarget
    from amlexec.sweeps.execute import OpenTarget

__all__ = ["sweep"]


def sweep(project: Project, arguments: argparse.Namespace) -> int:
    """`amlexec experiment sweep`; the exit code. Raises what its parts raise."""
    if arguments.resume is not None:
        return _resume(project, arguments)
    _check(arguments)
    draft = _draft(project, arguments)
    if arguments.dry_run:
        return _list(draft, arguments.output)
    targets, found = _targets(project, arguments, draft.script)
    with in_use.claimed(project):
        taken = submission.take(project, _Warnings())
        draft = draft._replace(targets=found, snapshot=taken.snapshot, source=taken.source)
        paths, definition, held = store.create(project, draft)
    try:
        opened = Sweep(project, paths, definition, held)
    except BaseException:
        held.release()
        raise
    with opened:
        return _execute(opened, targets, arguments)


class _Warnings(execute.Silent):
    def warn(self, line: str) -> None:
        console.Console().warn(line)


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.run_configuration:
        raise UsageError(
            "a sweep needs a run configuration", hint="name it: -c NAME; or continue a sweep: --resume last"
        )
    if arguments.retry:
        raise UsageError("--retry needs --resume", hint="name the sweep: --resume SWEEP --retry")
    if bool(arguments.metric) != bool(arguments.goal):
        missing = "--goal maximize or --goal minimize" if arguments.metric else "--metric NAME"
        raise UsageError("--metric and --goal belong together", hint=f"add {missing}")
    if len(arguments.run_configuration) > 1 and arguments.target:
        raise UsageError("--target can't be used with several run configurations")


def _draft(project: Project, arguments: argparse.Namespace) -> Definition:
    """The definition as the command line has it, without targets and snapshot."""
    from amlexec.config import load as config
    from amlexec.history.record import SnapshotRecord
    from amlexec.plan import plan

    declaration = config.load(project, arguments.run_configuration[0], arguments.target or "")
    script = arguments.script
    words, parameters = swept(arguments.tail)
    if script is not None:
        script = submission.script_in(project, script, arguments.project or os.getcwd())  # noqa: PTH109
    else:
        planned = plan(declaration, None, environment=os.environ)
        script, words = planned.script, planned.arguments
    listed = point_files.read(Path(arguments.list)) if arguments.list else ()
    if listed and parameters:
        raise UsageError(
            f"--list has the points, and the arguments have several values of {parameters[0].name}",
            hint="write the values into the file, or leave out --list",
        )
    if not listed and not parameters:
        raise UsageError(
            "there is nothing to search: no argument has several values",
            hint="write them as --lr 0.1,0.01 or --depth 2..6; amlexec experiment sweep --help",
        )
    draft = definitions.Definition(
        id="",
        created_utc=instant(time.time()),
        targets=(),
        script=script,
        arguments=words,
        parameters=parameters,
        search="list" if listed else "random" if arguments.random else "grid",
        listed=listed,
        most_points=arguments.random or 0,
        seed=int.from_bytes(os.urandom(4), "big") if arguments.seed is None else arguments.seed,
        sampler="",
        metric=arguments.metric or "",
        goal=arguments.goal or "",
        early_stop=None,
        jobs=arguments.jobs or 1,
        fail_fast=arguments.fail_fast,
        timeout_s=arguments.timeout or 0,
        snapshot=SnapshotRecord("", 0, 0),
        source=None,
    )
    _check_names(draft)
    return draft


def _check_names(draft: Definition) -> None:
    """Raises UsageError if the space is too large, or an argument mentions an unknown parameter."""
    try:
        points = definitions.points_of(draft)
    except BadValuesError as error:
        raise UsageError(str(error), hint=error.hint) from None
    known = {name for name, _ in points[0]} if points is not None else set()
    for name in definitions.names_in(draft.arguments):
        if name not in known:
            raise UsageError(
                f"an argument mentions {definitions.placeholder(name)}, and there is no parameter {name}",
                hint=f"the parameters are {', '.join(sorted(known))}",
            )


def _list(draft: Definition, form: str) -> int:
    """Print the points in their order."""
    points = definitions.points_of(draft)
    assert points is not None
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
    opened: list[OpenTarget] = []
    names = dict.fromkeys(arguments.run_configuration)
    for name in names:
        try:
            found = execute.prepared(
                project, name, arguments.target or "", script, _Warnings(), prepare=arguments.prepare
            )
        except UnreachableError as error:
            if len(names) == 1 or (name == [*names][-1] and not opened):
                raise
            console.say(f"warning: {name} is left out: {error.message}")
            continue
        opened.append(found)
    return opened, tuple(each.recorded for each in opened)


def _resume(project: Project, arguments: argparse.Namespace) -> int:
    ignored = ("random", "list", "seed", "metric", "goal", "script", "run_configuration", "target")
    given = [name for name in ignored if getattr(arguments, name)]
    if given or arguments.tail:
        raise UsageError(
            "a sweep that is continued keeps its definition",
            hint="with --resume, give only --jobs, --fail-fast, --retry, --timeout and --output",
        )
    with open_again(project, store.find(project, arguments.resume)) as opened:
        targets = [execute.open_target(project, target) for target in opened.definition.targets]
        if arguments.retry:
            recover.return_failed(opened)
        return _execute(opened, targets, arguments)


def _execute(opened: Sweep, targets: list[OpenTarget], arguments: argparse.Namespace) -> int:
    running, problems = recover.recover(opened)
    with sweep_progress.for_terminal() as shown:
        shown.begin(opened)
        for problem in problems:
            shown.warn(problem)
        outcome = Driver(
            opened,
            targets,
            InOrder(opened),
            shown,
            jobs=arguments.jobs or opened.definition.jobs,
            fail_fast=arguments.fail_fast or opened.definition.fail_fast,
        ).run(running)
    return _finish(opened, outcome, arguments.output)


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
        running = sum(state.status == "Running" for state in states.values())
        console.say(f"interrupted; {running} runs go on")
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
        return TargetError(f"no target is left: {outcome.reason}", hint=f"when it can be used again: {again}")
    if outcome.why in {"failed", "stopped", "timeout"}:
        return ScriptFailedError(f"the sweep was stopped: {outcome.reason}", hint=f"continue it: {again}")
    return None
