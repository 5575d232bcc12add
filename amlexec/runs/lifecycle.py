"""What becomes of a run after it was started: its state is read, its end is written, it is stopped.

A record never says an end that was not read on the target.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from amlexec import kinds, locks, redaction
from amlexec.errors import TargetError, UsageError
from amlexec.files import append, open_regular, remove_tree, walk
from amlexec.history import record, uncollected
from amlexec.history.folders import read, write
from amlexec.history.paths import RunPaths, check
from amlexec.history.record import FINAL, Application, Outputs, Run
from amlexec.targets import python_used
from amlexec.targets.registry import target_of
from amlexec.targets.target import GRACE_TIMEOUT_S, State

if TYPE_CHECKING:
    from amlexec.model import NotCollected, Project
    from amlexec.targets.target import Target

__all__ = [
    "GRACE_TIMEOUT_S",
    "cancel",
    "clean",
    "collect_again",
    "ending",
    "refresh",
    "seen",
    "settle",
    "target_of_run",
]

_MOST_UNREAD = 10
_MOST_NOTES = 1000
"""Lines of a control log about what was not brought home."""
_CLOCK_TOLERANCE_S = 2.0
"""Two clocks that differ by less are as good as one: asking takes as long."""
_LOG_BYTES = 4 << 20
"""How much of a log is searched for what stands at its beginning."""


def target_of_run(project: Project, run: Run) -> Target:
    """The target that a recorded run is on."""
    return target_of(project, run.target, run.target_kind)


def refresh(project: Project, run: Run, state: State | None = None, target: Target | None = None) -> Run:
    """The run as it is now: where the record says that it is not over, its target is asked.

    It need not be asked where the caller has just read an end: that is `state`, and ends don't change. Who
    has followed it passes the `target` that knows what is here already.

    A run that is found to have ended is brought home and its end recorded; of one that is over, what could
    not be read then is read again. Raises as `Target.state` does: no answer says nothing about the run.
    """
    if run.status in FINAL and not run.unread:
        return run
    paths = RunPaths.of(project, run.run_id)
    check(paths)
    held = locks.take(str(paths.lock))
    if held is None:
        # Somebody is making it ready, or writing its end at this moment.
        return _live(run, State("starting")) if run.status == "Running" else run
    try:
        run = read(paths)  # it may have been written since
        if run.status in FINAL:
            return _read_again(paths, run)
        target = target or target_of_run(project, run)
        if state is None or state.phase != "ended":
            state = target.state(paths)
        found = settle(paths, run, target, state)
        if found.status != run.status and found.status not in FINAL:
            # What was last read is what is shown while the target can't be reached.
            write(paths, found)
        return found
    finally:
        held.release()


def settle(paths: RunPaths, run: Run, target: Target, state: State) -> Run:
    """Write what `state` says into the record, if it says an end; the run's lock is held by the caller."""
    if state.phase in {"starting", "running"}:
        return _live(run, state)
    if run.status == "Preparing" and state.phase == "lost":
        # Nothing is started before this has become another status: what was not there can't have gone.
        state = State("new")
    missing = target.collect(paths)
    done = _collected(
        paths, python_used.recorded(_with_made(_over(run, state), paths), paths.folder), missing
    )
    write(paths, done)
    note(paths, f"{done.status}{f': {done.reason}' if done.reason else ''}")
    _let_go(paths, done, target)
    from amlexec.runs import leftovers

    # Whoever began to write an end before us and was killed.
    leftovers.left_by_its_writers(paths)
    return done


def _collected(paths: RunPaths, run: Run, missing: list[NotCollected]) -> Run:
    """The run with what was not brought home."""
    for one in missing[:_MOST_NOTES]:
        note(paths, f"{one.path} was not brought home: {one.reason}")
    return run._replace(not_collected=uncollected.bounded(missing))


def _let_go(paths: RunPaths, run: Run, target: Target) -> None:
    """Remove what a run no longer needs, now that its end is recorded: before, it could still be asked."""
    if uncollected.is_kept(run):
        note(paths, "the copy of the project is kept: not all of its outputs were brought home")
        return
    target.release(paths)
    if run.status != "Completed":
        return  # the copy of a run that failed is kept: it may show why
    try:
        target.clean(paths)
    except (TargetError, OSError) as error:
        # How it ended is recorded; `clean` can be asked for again.
        note(paths, f"the copy of the project could not be removed: {error}")


def seen(run: Run, state: State) -> Run:
    """The run as `state` says that it is; of what it has made, nothing is known yet."""
    return _live(run, state) if state.phase in {"new", "starting", "running"} else _over(run, state)


def _over(run: Run, state: State) -> Run:
    status, reason, exit_code = ending(state)
    return run._replace(
        status=status,
        reason=reason,
        start_time_utc=None if state.began is None else record.instant(state.began),
        end_time_utc=None if state.ended is None else record.instant(state.ended),
        exit_code=exit_code,
    )


def _with_made(run: Run, paths: RunPaths) -> Run:
    """The run with what it has made, as it is here. What can't be read costs it no end, and is named."""
    from amlexec.history import metrics

    unread: list[str] = []
    made = run
    try:
        logged = metrics.summary(paths.metrics)
    except OSError as error:
        unread.append(_unread(paths.metrics.name, error))
    else:
        made = made._replace(metrics=logged.values, metric_counts=logged.counts)
        if logged.unreadable:
            note(paths, f"{logged.unreadable} lines of {paths.metrics.name} are no metrics")
        if logged.left_out:
            note(
                paths,
                f"{logged.left_out} metrics are too large for the record: {paths.metrics.name} has them",
            )
    try:
        made = made._replace(outputs=_outputs(paths, unread))
    except OSError as error:
        unread.append(_unread(paths.outputs.name, error))
    try:
        made = made._replace(application=_application(run, paths))
    except OSError as error:
        unread.append(_unread(paths.stderr.name, error))
    for line in unread:
        note(paths, line)
    return made._replace(unread=tuple(unread))


def _unread(name: str, error: OSError) -> str:
    why = error.strerror or str(error)
    return f"{name} could not be read: {why[:1].lower()}{why[1:]}"


def _read_again(paths: RunPaths, run: Run) -> Run:
    if not run.unread:
        return run
    made = _with_made(run, paths)
    if made != run:
        write(paths, made)
    return made


def _application(run: Run, paths: RunPaths) -> Application | None:
    if run.framework != "PySpark" or not kinds.of(run.target_kind).is_spark_cluster:
        return None
    from amlexec.spark.cluster_args import application

    try:
        with open_regular(paths.stderr, follow=False) as log:
            found, address = application(log.read(_LOG_BYTES).decode(errors="replace"))
    except FileNotFoundError:
        return None
    return Application(found, address or None) if found else None


def _live(run: Run, state: State) -> Run:
    if state.phase == "running":
        began = run.start_time_utc if state.began is None else record.instant(_on_our_clock(state))
        return run._replace(status="Running", start_time_utc=began)
    return run


def _on_our_clock(state: State) -> float:
    """When a running run began: until it is over, whoever asks how long it has run looks at our clock."""
    assert state.began is not None
    ahead = 0.0 if state.now is None else state.now - time.time()
    return state.began if abs(ahead) < _CLOCK_TOLERANCE_S else state.began - ahead


def ending(state: State) -> tuple[str, str, int | None]:
    """Status, reason and exit code of a run that is over: a pure reading of `state`."""
    if state.phase == "new":
        return "Lost", "amlexec ended before the script began", None
    if state.phase == "lost" and state.canceled:
        return "Canceled", "its supervisor was gone before it: the exit code is not known", None
    if state.phase == "lost":
        return (
            "Lost",
            state.why or "its supervisor ended first: how the script ended is not known",
            None,
        )
    code = state.exit_code
    assert code is not None, "what has ended has a status"
    if state.canceled:
        return "Canceled", "", code
    if code == 0:
        return "Completed", "", code
    if state.why:
        return "Failed", f"exit code {code}: {state.why}", code
    if 128 < code < 128 + signal.NSIG:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            return "Failed", f"exit code {code}", code
        # A shell can't tell the two apart: a script may well exit with 137 by itself.
        return "Failed", f"exit code {code}, as of a process that {name} killed", code
    return "Failed", f"exit code {code}", code


def _outputs(paths: RunPaths, unread: list[str]) -> Outputs | None:
    """What is there, None where nothing of it can be read; such folders are added to `unread`, up to ten."""

    def skipped(error: OSError) -> None:
        if len(unread) < _MOST_UNREAD:
            unread.append(_unread(os.path.relpath(error.filename or paths.outputs, paths.folder), error))

    files = size = folders = 0
    if not os.path.lexists(paths.outputs):
        return Outputs(0, 0)
    for folder in walk(paths.outputs, skipped):
        folders += 1
        for entry in folder.others:
            if not (entry.is_symlink() and entry.is_dir()):
                files += 1
                size += entry.stat(follow_symlinks=False).st_size
    return Outputs(files, size) if folders else None


def cancel(project: Project, paths: RunPaths, grace: int = GRACE_TIMEOUT_S) -> tuple[Run, bool]:
    """Stop a run: TERM, `grace` seconds, KILL of the whole group. The run, and whether this ended it.

    Raises:
        TargetError: the run is still there, or its target can't be reached.
    """
    run = refresh(project, read(paths))
    if run.status in FINAL:
        return run, False
    target = target_of_run(project, run)
    note(paths, "a cancel was asked for")
    check(paths)
    until = time.monotonic() + grace + 30
    state = target.stop(paths, grace)
    while True:
        run = refresh(project, read(paths))
        if run.status in FINAL:
            return run, run.status == "Canceled"
        if time.monotonic() > until:
            raise TargetError(
                f"the run {run.run_id} is still {state.phase}",
                hint=f"look again: amlexec experiment status -r {run.run_id}",
            )
        # Another process, which follows the run, is just writing its end.
        time.sleep(0.05)


def collect_again(project: Project, paths: RunPaths) -> Run:
    """Bring home once more what came of a run that is over, over what is here; the record says what came.

    Raises:
        TargetError: its target can't be reached, or it is being brought home at this moment.
    """
    check(paths)
    held = locks.take(str(paths.lock))
    if held is None:
        raise TargetError(f"another process is just bringing the run {paths.folder.name} home")
    try:
        run = read(paths)
        target = target_of_run(project, run)
        state = target.state(paths)
        if state.phase == "lost" and run.status != "Lost":
            raise TargetError(
                f"nothing more can be brought home: {state.why or 'nothing is left there'}", where=run.target
            )
        missing = target.collect(paths)
        done = _collected(paths, _with_made(run, paths), missing)
        write(paths, done)
        if uncollected.is_kept(run):
            _let_go(paths, done, target)
        return done
    finally:
        held.release()


def clean(project: Project, paths: RunPaths) -> list[str]:
    """Remove what a run that is over no longer needs: its copies of the project. Where there was one.

    The record, logs, metrics and outputs stay.

    Raises:
        UsageError: the run is not over.
    """
    run = refresh(project, read(paths))
    if run.status not in FINAL:
        raise UsageError(
            f"the run {run.run_id} is {run.status}",
            hint=f"cancel it first: amlexec experiment cancel -r {run.run_id}",
        )
    check(paths)
    there = target_of_run(project, run).clean(paths)
    if uncollected.is_kept(run):
        gone = tuple(one._replace(kept=False) for one in run.not_collected)
        write(paths, run._replace(not_collected=gone))
    return there


def note(paths: RunPaths, text: str) -> None:
    """Add a line to the run's control log. Where that can't be written, everything goes on without it."""
    try:
        append(paths.log, f"{record.instant(time.time())} {redaction.hide_known(text)}\n")
    except OSError:
        return  # the log only tells of the run; the record is what counts


def forget(project: Project, paths: RunPaths) -> None:
    """Remove everything of a run that is over: what a run that is not tracked leaves."""
    target_of_run(project, read(paths)).clean(paths)
    remove_tree(paths.folder)
