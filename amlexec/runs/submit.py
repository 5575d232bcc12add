"""From a plan to a recorded run, on any target: prepare, check, record, snapshot, start, follow."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from amlexec import __version__, in_use, redaction
from amlexec.errors import AmlexecError, UnreachableError, UsageError
from amlexec.history import folders, record
from amlexec.history.record import Run, SnapshotRecord, Source
from amlexec.light_typing import TYPE_CHECKING, NamedTuple
from amlexec.runs.control_log import note
from amlexec.runs.follow import follow
from amlexec.targets import python_used
from amlexec.targets.environment import ensure, resolved_lock_of
from amlexec.targets.registry import runs_on
from amlexec.values import Detached

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from amlexec.history.paths import RunPaths
    from amlexec.models.for_run import Chosen
    from amlexec.runs.repeat import Repeat
    from amlexec.runs.talk import Talk
    from amlexec.targets.target import Launch, Target
    from amlexec.values import Plan, Project

__all__ = [
    "Begun",
    "Taken",
    "begin",
    "learn_secrets",
    "new_record",
    "script_in",
    "submit",
    "take",
]


class Taken(NamedTuple):
    """A snapshot that was taken, and the user's own repository at that moment."""

    snapshot: SnapshotRecord
    source: Source | None


def script_in(project: Project, script: str, folder: str) -> str:
    """`script`, as typed in `folder`, relative to the project's root.

    A script is looked for from the project's root, as run configurations name it, then from `folder`.

    Raises:
        UsageError: there is no such file, or it is outside the project.
    """
    root = Path(project.root)
    tried = [root / script, Path(folder) / script]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        if script and any(path.is_dir() for path in tried):
            raise UsageError(f"{script!r} is a folder, not a script", where=project.root)
        raise UsageError(
            f"there is no script {script!r}", where=project.root, hint=_near(root, script) or "is it saved?"
        )
    # Resolve links of the folder, but not the script's own: a link in the project is a file of the project.
    place = found.parent.resolve() / found.name
    if not place.is_relative_to(root):
        raise UsageError(
            f"the script {script!r} is outside the project",
            where=project.root,
            hint="a run executes a copy of the project: move the script into it",
        )
    return place.relative_to(root).as_posix()


def _near(root: Path, script: str) -> str:
    from difflib import get_close_matches

    folder = (root / script).parent
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()] if folder.is_dir() else []
    near = get_close_matches(Path(script).name, names, n=2)
    return f"did you mean {' or '.join(near)}?" if near else ""


class Begun(NamedTuple):
    """A run whose script was started."""

    paths: RunPaths
    run: Run
    target: Target
    bell: IO[bytes] | None
    """As `Target.start` returns it."""


def submit(plan: Plan, talk: Talk, *, detach: bool = False) -> Run | Detached:
    """Run a plan; the finished run, or a `Detached` if the run goes on without this process.

    Raises:
        ConfigurationError, UsageError: nothing was created, except perhaps the environment.
        TargetError: the run could not be started; its record says so.
        KeyboardInterrupt: before the script began; the record says Canceled.
    """
    begun = begin(plan, talk, quiet=detach)
    if detach:
        return Detached(begun.run.run_id, "async")
    return follow(plan.project, begun.paths, begun.run, talk, bell=begun.bell, target=begun.target)


def begin(
    plan: Plan, talk: Talk, *, taken: Taken | None = None, quiet: bool = False, repeat: Repeat | None = None
) -> Begun:
    """Start the script of a plan, in a copy of the project as it is now, or of the snapshot `taken`.

    `quiet` leaves out the lines that introduce the script's output. `repeat` brings its own snapshot.
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
        launch = python_used.asked(target.check(plan, environment), plan)
        if repeat is not None:
            repeat = repeat.with_launch(launch, plan)
            repeat.must_be_accepted()
            if repeat.run.snapshot is not None:
                taken = Taken(repeat.run.snapshot, repeat.run.source)
            for difference in repeat.differences:
                talk.warn(difference)
        resolved = resolved_lock_of(plan.project, environment, store)
        for warning in (*plan.warnings, *launch.warnings):
            talk.warn(warning)
        begun = new_record(plan, launch, resolved, repeat)
        paths, run, lock = folders.create(plan.project, begun, int(time.time() * 1000))
        try:
            with _ending_badly(paths):
                if models:
                    _put(models, paths)
                run = _stage(plan, target, paths, run, taken or take(plan.project, talk))
                claim.close()
                talk.say(f"RunId: {run.run_id}")
                talk.say(f"Python {launch.python.version} ({launch.python.path})")
                if not quiet:
                    talk.say("Executing user inputs .....")
                    talk.say("===========================")
                bell = target.start(paths, plan, launch, lock)
        finally:
            lock.release()
    return Begun(paths, run, target, bell)


def _models(plan: Plan) -> Sequence[Chosen]:
    """The versions of the models that go with it, with their files on this computer."""
    if not plan.models:
        return ()
    from amlexec.models import for_run

    return for_run.choose(plan.project, plan.models)


def _put(models: Sequence[Chosen], paths: RunPaths) -> None:
    from amlexec.models import for_run, run_folder

    for_run.put(paths.folder / run_folder.FOLDER, models)
    note(paths, f"models: {', '.join(each.model.id for each in models)}")


def learn_secrets(plan: Plan) -> None:
    """Let the secrets among a plan's variables never be printed."""
    redaction.learn(*(value for name, value in plan.environment_variables if _is_secret(plan, name)))


def _is_secret(plan: Plan, name: str) -> bool:
    return redaction.is_secret(name) or any(name == handed for handed, _ in plan.handed_over)


def new_record(plan: Plan, launch: Launch, resolved_lock: str, repeat: Repeat | None = None) -> Run:
    """The record of a run that is about to be made; it has no id yet."""
    now = time.time()
    handed_over = dict(plan.handed_over)
    # Values from the submitting command's environment are secrets, whatever their names.
    secret = tuple(("SECRET", value) for name, value in plan.environment_variables if name in handed_over)
    variables = (*plan.environment_variables, *launch.settings, *secret)
    return Run(
        run_id="",
        status="Preparing",
        reason="",
        run_configuration=plan.configuration,
        target=plan.target.name,
        target_kind=plan.target.kind,
        script_name=plan.script,
        arguments=redaction.redacted_arguments(plan.arguments, variables),
        argv=redaction.redacted_arguments(launch.argv, variables),
        framework=plan.framework,
        tracked=plan.tracked,
        environment_variables=redaction.redacted(dict(plan.environment_variables)) | handed_over,
        created_utc=record.instant(now),
        start_time_utc=None,
        end_time_utc=None,
        exit_code=None,
        python=launch.python,
        platform=launch.platform,
        snapshot=None,
        source=None,
        environment_digest=launch.digest or None,
        image_id=launch.image_id or None,
        metrics={},
        outputs=None,
        user_id=_user(),
        host=os.uname().nodename,
        amlexec=__version__,
        sweep=plan.sweep,
        environment_lock=resolved_lock or None,
        rerun_of=repeat.run.run_id if repeat is not None else None,
        models={each.reference: each.version for each in plan.models},
    )


def _user() -> str:
    # As `getpass`, whose import a submission would wait for.
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if user := os.environ.get(variable):
            return user
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as in many containers
        return str(os.getuid())


def take(project: Project, talk: Talk) -> Taken:
    """Take a snapshot of the project, with the state of the user's own repository. Raises TargetError."""
    from amlexec import git
    from amlexec.snapshots import take as snapshot

    taken = snapshot.take(project)
    for warning in taken.warnings:
        talk.warn(warning)
    source = git.describe(project.root)
    return Taken(
        SnapshotRecord(taken.tree, taken.files, taken.bytes),
        Source(source.commit, source.dirty) if source is not None and source.commit else None,
    )


def _stage(plan: Plan, target: Target, paths: RunPaths, run: Run, taken: Taken) -> Run:
    tree, files, size = taken.snapshot
    target.stage(paths, plan, tree)
    run = run._replace(status="Starting", snapshot=taken.snapshot, source=taken.source)
    folders.write(paths, run)
    note(paths, f"snapshot {tree}: {files} files, {size} bytes")
    note(paths, f"starting {list(run.argv or ())} on {plan.target.name}")
    return run


@contextmanager
def _ending_badly(paths: RunPaths) -> Iterator[None]:
    """Record an error that prevents the script's start before raising it."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            status, reason = "Canceled", "interrupted before the script began"
        else:
            why = error.message if isinstance(error, AmlexecError) else f"{type(error).__name__}: {error}"
            status, reason = "Failed", redaction.hide_known(f"the script did not begin: {why}")
        if isinstance(error, UnreachableError) and folders.read(paths).status == "Starting":
            # Only the target knows whether the script has begun.
            note(paths, f"the connection was lost while the script was started: {error.message}")
            error.hint = f"it may have begun: amlexec experiment status -r {paths.folder.name}"
            raise
        if isinstance(error, UsageError):
            # The command line was wrong, and nothing has run: keep no record.
            folders.discard(paths)
            raise
        ended = time.time()
        try:
            run = folders.read(paths)
            folders.write(
                paths, run._replace(status=status, reason=reason, end_time_utc=record.instant(ended))
            )
            note(paths, f"{status}: {reason}")
        except OSError:
            # The disk is full. A record without an end is read as Lost, which is correct.
            note(paths, "the record could not be written")
        raise
