"""Find out about the points that a process had in hand when it ended, so that none is executed twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import AmlexecError, TargetError
from amlexec.files import read_regular
from amlexec.history import find, folders
from amlexec.history.paths import RUNS, RunPaths
from amlexec.history.record import FINAL
from amlexec.runs import lifecycle, many
from amlexec.runs.withdraw import withdraw
from amlexec.targets.slurm_state import NOT_SUBMITTED

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.sweeps.sweep import Sweep
    from amlexec.targets.target import State
    from amlexec.values import Project

__all__ = ["recover", "return_failed", "runs_of"]

_LARGEST = 256 << 20


def runs_of(project: Project, sweep_id: str) -> dict[int, list[str]]:
    """The runs of a sweep, by the numbers of their points, oldest first. Damaged records are passed over."""
    found: dict[int, list[str]] = {}
    mark = sweep_id.encode()
    for run_id in find.ids(project):
        paths = RunPaths(f"{project.state}/{RUNS}/{run_id}")
        try:
            # Parsing every record of a large project would take seconds.
            if mark not in read_regular(paths.record, _LARGEST, follow=False):
                continue
            run = folders.read(paths)
        except (OSError, TargetError):
            continue
        if run.sweep is not None and run.sweep.id == sweep_id:
            found.setdefault(run.sweep.number, []).append(run_id)
    return found


def recover(sweep: Sweep) -> tuple[list[int], list[str]]:
    """Bring the journal up to date with the runs.

    Returns the points whose runs go on, and a sentence for each that could not be found out about. Their
    state stays `Running` or `Starting`, so that they are not started again.
    """
    doubtful = [
        number
        for number, state in sorted(sweep.states.items())
        if state.status in {"Starting", "Queued", "Running"}
    ]
    if any(not sweep.states[number].run_id for number in doubtful):
        recorded = runs_of(sweep.project, sweep.definition.id)
    else:
        recorded = {}
    run_ids = {}
    for number in doubtful:
        state = sweep.states[number]
        unknown = [run_id for run_id in recorded.get(number, ()) if run_id not in state.earlier]
        run_ids[number] = state.run_id or (unknown[-1] if unknown else "")
    running, problems = _of_many(sweep, run_ids)
    for number, run_id in run_ids.items():
        try:
            if _goes_on(sweep, number, run_id):
                running.append(number)
        except (AmlexecError, OSError) as error:
            what = error.message if isinstance(error, AmlexecError) else str(error)
            problems.append(f"point {number}: {what}")
    return running, problems


def _of_many(sweep: Sweep, run_ids: dict[int, str]) -> tuple[list[int], list[str]]:
    """As `recover` for points whose target tells of many runs in one call; takes them out of `run_ids`."""
    runs: dict[str, tuple[int, Run]] = {}
    for number, run_id in run_ids.items():
        try:
            runs[run_id] = number, folders.read(RunPaths.of(sweep.project, run_id))
        except TargetError:
            continue
    running, problems = [], []
    for group in many.by_target(run for _, run in runs.values()):
        try:
            removed, going_on = _of_one_target(sweep, group)
        except (AmlexecError, OSError) as error:
            problems.append(
                f"{len(group)} points: {error.message if isinstance(error, AmlexecError) else error}"
            )
            removed, going_on = set(), set()
            for run in group:
                del run_ids[runs[run.run_id][0]]
        for run_id in removed | going_on:
            number = runs[run_id][0]
            del run_ids[number]
            if run_id in removed:
                sweep.returned(number, "its script had not begun")
                continue
            if not sweep.states[number].run_id:
                sweep.queued(number, run_id)
            running.append(number)
    return sorted(running), problems


def _of_one_target(sweep: Sweep, runs: list[Run]) -> tuple[set[str], set[str]]:
    """The runs that never begin, which are removed now, and those that go on or have ended."""
    states = many.states(sweep.project, [run for run in runs if run.status != "Preparing"])
    never = [run.run_id for run in runs if run.status == "Preparing" or _is_new(states.get(run.run_id))]
    removed = many.withdraw(sweep.project, many.target_of_many(sweep.project, runs[0]), never)
    known = {"starting", "running", "ended"}
    return removed, {run_id for run_id, state in states.items() if state.phase in known} - removed


def _is_new(state: State | None) -> bool:
    return state is not None and (
        state.phase == "new" or (state.phase == "lost" and state.why == NOT_SUBMITTED)
    )


def _goes_on(sweep: Sweep, number: int, run_id: str) -> bool:
    """Whether the run of a point goes on; else records its end, or that the point is pending again."""
    if not run_id or not RunPaths.of(sweep.project, run_id).folder.exists():
        # Without a record nothing has started. If its record was removed, so was its result.
        sweep.returned(number, "it was not started" if not run_id else f"the run {run_id} was removed")
        return False
    paths = RunPaths.of(sweep.project, run_id)
    if withdraw(sweep.project, paths):
        sweep.returned(number, "its script had not begun")
        return False
    if not sweep.states[number].run_id:
        sweep.started(number, run_id)
    run = lifecycle.refresh(sweep.project, folders.read(paths))
    if run.status not in FINAL:
        return True
    sweep.ended(number, run)
    return False


def return_failed(sweep: Sweep) -> int:
    """Make the points pending again that failed, were canceled or are lost; how many.

    Points that were stopped early are not: they did what was wanted.
    """
    failed = [
        number
        for number, state in sweep.states.items()
        if state.is_over and state.status != "Completed" and not state.is_stopped
    ]
    for number in failed:
        sweep.returned(number, f"it is tried again after {sweep.states[number].run_id}")
    return len(failed)
