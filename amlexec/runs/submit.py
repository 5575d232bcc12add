"""From a plan to a recorded run, on any target: prepare, check, record, snapshot, start, follow."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from amlexec import in_use, redaction
from amlexec.errors import UsageError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.runs.snapshot import TakenSnapshot, taking
from amlexec.targets import python_used
from amlexec.targets.environment import ensure, resolved_lock_of
from amlexec.targets.registry import runs_on
from amlexec.values import Detached

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.models.for_run import Chosen
    from amlexec.runs.repeat import Repeat
    from amlexec.runs.talk import Talk
    from amlexec.targets.target import Target
    from amlexec.values import Plan, Project

__all__ = ["Begun", "begin", "followed", "learn_secrets", "script_in", "submit"]

# ruff: noqa: PTH112, PTH113, PTH118, PTH119, PTH120 - a submission needs no pathlib


def script_in(project: Project, script: str, folder: str) -> str:
    """`script`, as typed in `folder`, relative to the project's root.

    A script is looked for from the project's root, as run configurations name it, then from `folder`.

    Raises:
        UsageError: there is no such file, or it is outside the project.
    """
    root = project.root
    tried = [os.path.join(root, script), os.path.join(folder, script)]
    found = next((path for path in tried if os.path.isfile(path)), None)
    if found is None:
        if script and any(os.path.isdir(path) for path in tried):
            raise UsageError(f"{script!r} is a folder, not a script", where=root)
        raise UsageError(
            f"there is no script {script!r}", where=root, hint=_near(root, script) or "is it saved?"
        )
    # Resolve links of the folder, but not the script's own: a link in the project is a file of the project.
    place = os.path.join(os.path.realpath(os.path.dirname(found)), os.path.basename(found))
    inside = f"{root.rstrip('/')}/"
    if not place.startswith(inside):
        raise UsageError(
            f"the script {script!r} is outside the project",
            where=root,
            hint="a run executes a copy of the project: move the script into it",
        )
    return place.removeprefix(inside)


def _near(root: str, script: str) -> str:
    from difflib import get_close_matches
    from pathlib import Path

    folder = Path(root, script).parent
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()] if folder.is_dir() else []
    near = get_close_matches(Path(script).name, names, n=2)
    return f"did you mean {' or '.join(near)}?" if near else ""


class Begun(NamedTuple):
    """A run whose script was started."""

    paths: RunPaths
    run: Run
    target: Target
    end_pipe: IO[bytes] | None
    """As `Target.start` returns it."""


def submit(plan: Plan, talk: Talk, *, detach: bool = False) -> Run | Detached:
    """Run a plan; the finished run, or a `Detached` if the run goes on without this process.

    Raises:
        ConfigurationError, UsageError: nothing was created, except perhaps the environment.
        TargetError: the run could not be started; its record says so.
        KeyboardInterrupt: before the script began; the record says Canceled.
    """
    return followed(
        plan.project, begin(plan, talk, quiet=detach, is_followed=not detach), talk, detach=detach
    )


def followed(project: Project, begun: Begun, talk: Talk, *, detach: bool) -> Run | Detached:
    """The rest of `submit`, after the script was started."""
    if detach:
        return Detached(begun.run.run_id, "async")
    from amlexec.runs.follow import follow  # while the script runs

    return follow(project, begun.paths, begun.run, talk, end_pipe=begun.end_pipe, target=begun.target)


def begin(
    plan: Plan,
    talk: Talk,
    *,
    taken: TakenSnapshot | None = None,
    quiet: bool = False,
    repeat: Repeat | None = None,
    is_followed: bool = True,
) -> Begun:
    """Start the script of a plan, in a copy of the project as it is now, or of the snapshot `taken`.

    `quiet` leaves out the lines that introduce the script's output. `repeat` brings its own snapshot.
    `is_followed` tells that the caller follows the run, with the target that is returned.
    Raises as `submit` does.
    """
    learn_secrets(plan)
    target = runs_on(plan.target, plan.project.own)
    if repeat is None:
        script_in(plan.project, plan.script, plan.project.root)
    with ExitStack() as claim:
        # Until the record names them, the environment and the snapshot belong to nobody.
        claim.enter_context(in_use.claimed(plan.project))
        models = _models(plan)
        plan = plan._replace(models=tuple(each.wanted for each in models))
        store = target.store(plan)
        environment = ensure(plan, store)
        launch = python_used.asked(target.check(plan, environment), plan)._replace(is_followed=is_followed)
        if repeat is not None:
            repeat = repeat.with_launch(launch, plan)
            repeat.must_be_accepted()
            if repeat.run.snapshot is not None:
                taken = TakenSnapshot(repeat.run.snapshot, repeat.run.source)
            for difference in repeat.differences:
                talk.warn(difference)
        resolved = resolved_lock_of(plan.project, environment, store)
        for warning in (*plan.warnings, *launch.warnings):
            talk.warn(warning)
        finish = claim.enter_context(taking(plan.project, talk, taken))
        # Only now: while git works.
        from amlexec.history import folders
        from amlexec.runs.new_run import new_record, recording_failure, stage

        begun = new_record(plan, launch, resolved, repeat)
        paths, run, lock = folders.create(plan.project, begun, int(time.time() * 1000))
        try:
            with recording_failure(paths):
                taken = finish()  # before anything that takes long: until then, the snapshots are locked
                if models:
                    _put(models, paths)
                run = stage(plan, target, paths, run, taken)
                claim.close()
                talk.say(f"RunId: {run.run_id}")
                talk.say(f"Python {launch.python.version} ({launch.python.path})")
                if not quiet:
                    talk.say("Executing user inputs .....")
                    talk.say("===========================")
                end_pipe = target.start(paths, plan, launch, lock)
        finally:
            lock.release()
    return Begun(paths, run, target, end_pipe)


def _models(plan: Plan) -> Sequence[Chosen]:
    """The versions of the models that go with it, with their files on this computer."""
    if not plan.models:
        return ()
    from amlexec.models import for_run

    return for_run.choose(plan.project, plan.models)


def _put(models: Sequence[Chosen], paths: RunPaths) -> None:
    from amlexec.models import for_run, run_folder
    from amlexec.runs.control_log import note

    for_run.put(paths.folder / run_folder.FOLDER, models)
    note(paths, f"models: {', '.join(each.model.id for each in models)}")


def learn_secrets(plan: Plan) -> None:
    """Let the secrets among a plan's variables never be printed."""
    redaction.learn(*(value for name, value in plan.environment_variables if _is_secret(plan, name)))


def _is_secret(plan: Plan, name: str) -> bool:
    return redaction.is_secret(name) or any(name == handed for handed, _ in plan.handed_over)
