"""Carry out a plan. What became used, locked or tagged since the plan was made stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import in_use, locks, outside, private_folders, temporaries
from amlexec.console import system_error
from amlexec.errors import ConfigurationError, TargetError
from amlexec.file_trees import remove_tree
from amlexec.gc import run_facts
from amlexec.gc.needed import needed_digests, needed_locks, needed_trees
from amlexec.gc.places import Outcome
from amlexec.gc.project_items import HERE, TRASH
from amlexec.history.paths import RunPaths
from amlexec.snapshots import prune
from amlexec.sweeps import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from amlexec.gc.model import Item, Plan
    from amlexec.gc.places import Place
    from amlexec.snapshots.prune import Pruned
    from amlexec.values import Project

__all__ = ["Result", "alone", "carry_out"]

_COPIES = ("project", "logged", "incoming")


class Result(NamedTuple):
    """What a clean-up did."""

    outcomes: list[Outcome]
    problems: list[Exception]
    snapshots: Pruned | None = None
    """None if the snapshots were not looked at."""


def alone(project: Project) -> locks.Held:
    """The lock of clean-ups of this project.

    Raises:
        TargetError: another one is in progress, or the lock's file can't be made.
    """
    path = f"{project.state}/gc.lock"
    try:
        private_folders.make(project.state)
        lock = locks.take(path)
    except OSError as error:
        raise TargetError(f"cannot write {path}: {error.strerror}") from error
    if lock is None:
        raise TargetError(
            "another amlexec gc of this project is in progress", where=path, hint="wait until it is done"
        )
    return lock


def carry_out(project: Project, plan: Plan, places: Sequence[Place]) -> Result:
    """Remove what the plan says. The caller has the lock of `alone`.

    First the runs' files on the targets, then the runs: a crash in between leaves runs that the next plan
    finds. Then everything that only they needed.
    """
    here = [each.item for each in plan.removed if each.item.place == HERE]
    there = _Places(plan, places)
    outcomes, problems = there.outcomes, there.problems
    stays = {
        item.run_id: why for item in there.items if item.run_id and (why := _why_not(project, item.run_id))
    }
    there.remove([item for item in there.items if item.run_id and item.run_id not in stays])
    outcomes += [Outcome(item, stays[item.run_id]) for item in there.items if item.run_id in stays]
    runs = [item for item in here if item.kind == "run"]
    outcomes += _runs(project, [item for item in runs if item.name not in there.failed_runs])
    outcomes += [Outcome(item, "see the error") for item in runs if item.name in there.failed_runs]
    outcomes += [Outcome(item, _sweep(project, item.name)) for item in here if item.kind == "sweep"]
    outcomes += [Outcome(item, _remove_copy(project, item.name)) for item in here if item.kind == "copy"]
    there.remove([item for item in there.items if not item.run_id])
    outcomes += _packages(project, [item for item in here if item.kind == "packages"])
    outcomes += [Outcome(item) for item in here if item.kind == "leftover"]
    problems += _empty(project)
    if caches := [item for item in here if item.kind == "cache"]:
        from amlexec.gc import cache_items

        outcomes += cache_items.remove(caches)
    snapshots = None
    try:
        snapshots = prune.prune(project, lambda: needed_trees(project))
    except TargetError as error:
        problems.append(error)
    why = snapshots.busy if snapshots is not None else "see the error"
    outcomes += [Outcome(item, why) for item in here if item.kind == "snapshot"]
    return Result(outcomes, problems, snapshots)


class _Places:
    """The places, and what is to be removed in them."""

    def __init__(self, plan: Plan, places: Sequence[Place]) -> None:
        self._places = places
        self.items = [each.item for each in plan.removed if each.item.place != HERE]
        self.outcomes: list[Outcome] = []
        self.problems: list[Exception] = []
        self.failed_runs: set[str] = set()
        """Runs whose files in a place were perhaps not removed."""

    def remove(self, items: Sequence[Item]) -> None:
        """Remove items, place by place. An error of one place does not stop the others."""
        for place in self._places:
            found = [item for item in items if item.key.startswith(place.prefix)]
            try:
                self.outcomes += place.remove(found) if found else ()
            except (TargetError, ConfigurationError) as error:
                self.problems.append(error)
                self.outcomes += [Outcome(item, "see the error") for item in found]
                self.failed_runs |= {item.run_id for item in found if item.run_id}


def _runs(project: Project, items: Sequence[Item]) -> Iterator[Outcome]:
    """Move the folders of runs away, each in one step: no one sees half a run."""
    trash = Path(project.state, TRASH)
    private_folders.make(trash)
    for item in items:
        yield Outcome(item, _with_lock(project, item.name, lambda paths: _move(paths.folder, trash)))


def _sweep(project: Project, sweep_id: str) -> str:
    """Move the folder of a sweep away; why it was not done, or ""."""
    paths = store.find(project, sweep_id)
    lock = locks.take(str(paths.lock))
    if lock is None:
        return "it is running"
    try:
        _move(paths.folder, Path(project.state, TRASH))
    finally:
        lock.release()
    return ""


def _move(folder: Path, trash: Path) -> None:
    folder.rename(trash / f"{folder.name}.{temporaries.owner()}.{os.urandom(4).hex()}")


def _remove_copy(project: Project, run_id: str) -> str:
    def remove(paths: RunPaths) -> None:
        for name in _COPIES:
            remove_tree(paths.folder / name)

    return _with_lock(project, run_id, remove, even_if_tagged=True)


def _why_not(project: Project, run_id: str) -> str:
    """Why a run must not be touched now; "" if it may be."""
    return _with_lock(project, run_id, lambda _: None)


def _with_lock(
    project: Project, run_id: str, act: Callable[[RunPaths], None], *, even_if_tagged: bool = False
) -> str:
    """Do something with a finished run that no other process changes; why it was not done, or ""."""
    paths = RunPaths.of(project, run_id)
    try:
        paths.control.mkdir(mode=0o700, exist_ok=True)
        lock = locks.take(str(paths.lock))
        if lock is None:
            return "another process has its lock"
        try:
            run = run_facts.read(str(paths.folder.parent), run_id)
            if not run.is_finished:
                return f"it is {run.status or 'damaged'}"
            if not even_if_tagged and paths.tags.exists() and run_facts.has_tags(project, run_id):
                return "it is tagged"
            act(paths)
        finally:
            lock.release()
    except FileNotFoundError:
        return ""  # somebody else removed it
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


def _packages(project: Project, items: Sequence[Item]) -> Iterator[Outcome]:
    """Remove lists of packages and locks of environments, unless something needs them by now."""
    from amlexec.environments import last_prepared, resolved_lock

    if not items:
        return
    with in_use.unclaimed(project, 5.0) as is_ours:
        needed = needed_digests(project) | needed_locks(project) if is_ours else set()
        for item in items:
            kind, _, digest = item.key.partition(":")
            if not is_ours or digest in needed:
                yield Outcome(item, prune.BUSY if not is_ours else "something needs it by now")
                continue
            folder = resolved_lock.folder(project) if kind == "lock" else last_prepared.folder(project)
            for path in folder.glob(f"{digest}*"):
                path.unlink(missing_ok=True)
            yield Outcome(item)


def _empty(project: Project) -> Iterator[Exception]:
    """Delete what was moved away, and what killed processes left; an error for each that can't be deleted."""
    from amlexec.runs import leftovers

    trash = Path(project.state, TRASH)
    for folder in sorted(trash.iterdir()) if trash.is_dir() and not trash.is_symlink() else ():
        try:
            remove_tree(folder)
        except OSError as error:
            yield system_error(error)
    try:
        leftovers.folders(project)
        leftovers.files(project)
        outside.remove_left(project)
    except OSError as error:
        yield system_error(error)
    from amlexec.keystore import pending

    try:
        pending.remove_left()
    except TargetError as error:
        yield error
