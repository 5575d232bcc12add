"""A run after its start: read its state, record its end, cancel it, clean up.

A record only contains an end that was read on the target.
"""

from __future__ import annotations

import signal
import time

from amlexec import locks
from amlexec.errors import TargetError, UsageError
from amlexec.file_trees import remove_tree
from amlexec.history import record, uncollected
from amlexec.history.folders import discard, read, write
from amlexec.history.paths import RunPaths, check
from amlexec.history.record import FINAL, Run
from amlexec.light_typing import TYPE_CHECKING
from amlexec.models import run_folder
from amlexec.runs import registered, release
from amlexec.runs.control_log import note
from amlexec.runs.results import with_results
from amlexec.targets import python_used
from amlexec.targets.registry import target_of
from amlexec.targets.target import GRACE_TIMEOUT_S, State
from amlexec.values import Project

if TYPE_CHECKING:
    from amlexec.targets.target import Target
    from amlexec.values import NotCollected

__all__ = [
    "GRACE_TIMEOUT_S",
    "NEVER_BEGAN",
    "add_reason",
    "cancel",
    "clean",
    "collect_again",
    "ending",
    "forget",
    "refresh",
    "settle",
    "target_of_run",
    "with_state",
]

NEVER_BEGAN = "amlexec ended before the script began"
"""The reason of a run that was lost before its script began."""
_MOST_NOTES = 1000
"""Lines of a control log about outputs that were not collected."""
_CLOCK_TOLERANCE_S = 2.0
"""Smaller differences of two clocks are ignored: a request takes as long."""
_LOCK_TIMEOUT_S = 30.0


def target_of_run(project: Project, run: Run) -> Target:
    """The target of a recorded run."""
    return target_of(project, run.target, run.target_kind)


def refresh(
    project: Project,
    run: Run,
    state: State | None = None,
    target: Target | None = None,
    *,
    registers: bool = True,
    is_fresh: bool = False,
) -> Run:
    """The run as it is now: unless the record has an end, its target is asked.

    A caller that has just read the end passes it as `state`: ends don't change. One that has just read the
    states of many runs passes that of the run with `is_fresh`: it may go on, too. A caller that has followed
    the run passes its `target`, which knows how much of the logs was copied.

    If the run has ended, its outputs are collected, its end is recorded, and the models that its script has
    registered are added to the registry, unless the caller does that (`registers`). Results of a recorded run
    that could not be read are read again, and what a killed process did not release is released.

    Raises as `Target.state` does: no answer means nothing about the run.
    """
    paths = RunPaths.of(project, run.run_id)
    if run.status in FINAL and not run.unread and not release.is_due(paths):
        return run
    if is_fresh and state is not None and state.phase in {"starting", "running"}:
        found = _live(run, state)
        if found.status == run.status:
            return found  # nothing is to be recorded
    check(paths)
    lock = locks.take(str(paths.lock))
    if lock is None:
        # Another process is starting the run, or is recording its end at this moment.
        return run
    try:
        run = read(paths)  # another process may have changed it
        if run.status in FINAL:
            run = _read_again(paths, run)
            if release.is_due(paths):
                release.again(paths, run, target or target_of_run(project, run))
            return run
        if is_fresh and state is not None and state.phase in {"starting", "running"}:
            found = _live(run, state)
        else:
            target = target or target_of_run(project, run)
            if state is None or state.phase != "ended":
                state = target.state(paths)
            found = settle(paths, run, target, state)
        if found.status != run.status and found.status not in FINAL:
            # To show the last known status while the target can't be reached.
            write(paths, found)
    finally:
        lock.release()
    if found.status in FINAL and registers:
        registered.register(paths, found)
    return found


def settle(paths: RunPaths, run: Run, target: Target, state: State) -> Run:
    """Record the end of the run if `state` is one. The caller holds the run's lock."""
    if state.phase in {"starting", "running"}:
        return _live(run, state)
    if run.status == "Preparing" and state.phase == "lost":
        # Nothing starts before the status changes, so nothing can be lost.
        state = State("new")
    missing = target.collect(paths)
    done = _collected(
        paths, python_used.recorded(with_results(_over(run, state), paths), paths.folder), missing
    )
    done = _with_packages(paths, done)
    registered.expect(paths)
    release.expect(paths)
    write(paths, done)
    note(paths, f"{done.status}{f': {done.reason}' if done.reason else ''}")
    release.let_go(paths, done, target)
    return done


def _with_packages(paths: RunPaths, run: Run) -> Run:
    """The run with the packages of a Python that the user manages, as the run listed them."""
    if run.environment_digest is not None:
        return run
    from amlexec.environments import python_packages

    project = Project(str(paths.folder.parents[2]))
    try:
        return run._replace(environment_lock=python_packages.keep(project, paths.folder))
    except OSError as error:
        note(paths, f"the list of packages could not be kept: {error}")
        return run


def _collected(paths: RunPaths, run: Run, missing: list[NotCollected]) -> Run:
    """The run with the list of outputs that were not collected."""
    for output in missing[:_MOST_NOTES]:
        note(paths, f"{output.path} was not collected: {output.reason}")
    return run._replace(not_collected=uncollected.bounded(missing))


def with_state(run: Run, state: State) -> Run:
    """The run with the status of `state`; its metrics and outputs have not been read."""
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


def _read_again(paths: RunPaths, run: Run) -> Run:
    if not run.unread:
        return run
    made = with_results(run, paths)
    if made != run:
        write(paths, made)
    return made


def _live(run: Run, state: State) -> Run:
    if state.phase == "running":
        began = run.start_time_utc if state.began is None else record.instant(_on_our_clock(state))
        return run._replace(status="Running", start_time_utc=began, reason=state.why)
    # Why it has not begun, for whoever looks; nothing of it is recorded.
    return run._replace(reason=state.why) if state.phase == "starting" and state.why else run


def _on_our_clock(state: State) -> float:
    """The start of a running run by this computer's clock, which its duration is measured with."""
    assert state.began is not None
    ahead = 0.0 if state.now is None else state.now - time.time()
    return state.began if abs(ahead) < _CLOCK_TOLERANCE_S else state.began - ahead


def ending(state: State) -> tuple[str, str, int | None]:
    """Status, reason and exit code of a finished run, from `state` alone."""
    if state.phase == "new":
        return "Lost", NEVER_BEGAN, None
    if state.phase == "failed":
        return ("Canceled" if state.canceled else "Failed"), f"the script did not begin: {state.why}", None
    if state.phase == "lost" and state.canceled:
        return "Canceled", state.why or "its supervisor ended first: the exit code is not known", None
    if state.phase == "lost":
        return (
            "Lost",
            state.why or "its supervisor ended first: how the script ended is not known",
            None,
        )
    code = state.exit_code
    assert code is not None, "an ended process has an exit code"
    if state.canceled:
        return "Canceled", state.why, code
    if code == 0:
        return "Completed", "", code
    if state.why:
        return "Failed", f"exit code {code}: {state.why}", code
    if 128 < code < 128 + signal.NSIG:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            return "Failed", f"exit code {code}", code
        # Probably: a shell can't distinguish it from a script that exits with 137 itself.
        return "Failed", f"exit code {code}, probably killed by {name}", code
    return "Failed", f"exit code {code}", code


def cancel(
    project: Project, paths: RunPaths, grace: int = GRACE_TIMEOUT_S, *, reason: str = ""
) -> tuple[Run, bool]:
    """Stop a run: TERM, `grace` seconds, KILL of the whole group. The run, and whether this ended it.

    `reason` is recorded if this ended it.

    Raises:
        TargetError: the run has not ended, or its target can't be reached.
    """
    run = refresh(project, read(paths))
    if run.status in FINAL:
        return run, False
    target = target_of_run(project, run)
    note(paths, "cancel requested" + (f": {reason}" if reason else ""))
    check(paths)
    until = time.monotonic() + grace + 30
    state = target.stop(paths, grace)
    while True:
        run = refresh(project, read(paths))
        if run.status in FINAL:
            if run.status == "Canceled" and reason:
                run = add_reason(paths, reason)
            return run, run.status == "Canceled"
        if time.monotonic() > until:
            raise TargetError(
                f"the run {run.run_id} is still {state.phase}",
                hint=f"check again: amlexec experiment status -r {run.run_id}",
            )
        # Another process, which follows the run, is recording its end.
        time.sleep(0.05)


def add_reason(paths: RunPaths, reason: str) -> Run:
    """Record the reason of a canceled run, unless it has one; the run.

    Raises:
        TargetError: another process has the run's lock.
    """
    with locks.exclusive(str(paths.lock), _LOCK_TIMEOUT_S):
        run = read(paths)
        if run.status == "Canceled" and not run.reason:
            run = run._replace(reason=reason)
            write(paths, run)
    return run


def collect_again(project: Project, paths: RunPaths) -> Run:
    """Collect the outputs of a finished run again, over the existing files, and update the record.

    Raises:
        TargetError: its target can't be reached, or another process is collecting the run.
    """
    check(paths)
    lock = locks.take(str(paths.lock))
    if lock is None:
        raise TargetError(f"another process is collecting the run {paths.folder.name}")
    try:
        run = read(paths)
        target = target_of_run(project, run)
        state = target.state(paths)
        if state.phase == "lost" and run.status != "Lost":
            raise TargetError(
                f"nothing more can be collected: {state.why or 'the target has nothing of the run'}",
                where=run.target,
            )
        missing = target.collect(paths)
        done = _collected(paths, with_results(run, paths), missing)
        write(paths, done)
        if uncollected.is_kept(run):
            release.let_go(paths, done, target)
        registered.register(paths, done)
        return done
    finally:
        lock.release()


def clean(project: Project, paths: RunPaths) -> list[str]:
    """Remove the copies of the project that a finished run no longer needs; the places of the copies.

    The record, logs, metrics and outputs stay.

    Raises:
        UsageError: the run has not ended.
    """
    run = refresh(project, read(paths))
    if run.status not in FINAL:
        raise UsageError(
            f"the run {run.run_id} is {run.status}",
            hint=f"cancel it first: amlexec experiment cancel -r {run.run_id}",
        )
    check(paths)
    copies = target_of_run(project, run).clean(paths)
    remove_tree(paths.folder / run_folder.FOLDER)
    if uncollected.is_kept(run):
        gone = tuple(output._replace(kept=False) for output in run.not_collected)
        write(paths, run._replace(not_collected=gone))
    return copies


def forget(project: Project, paths: RunPaths) -> None:
    """Remove everything of a finished run that is not tracked."""
    target_of_run(project, read(paths)).clean(paths)
    discard(paths)
