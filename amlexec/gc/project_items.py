"""What takes disk space in the project itself: runs, snapshots, leftovers of killed processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds, outside
from amlexec.errors import AmlexecError
from amlexec.gc import run_facts
from amlexec.gc.model import EXTRA, LEFTOVER, PART, ROOT, RUN, Item
from amlexec.history import find, folders
from amlexec.history.paths import RUNS, RunPaths
from amlexec.runs import leftovers, lifecycle
from amlexec.snapshots import objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from amlexec.gc.run_facts import RunFacts, Usage
    from amlexec.values import Project

__all__ = [
    "HERE",
    "TRASH",
    "ProjectRuns",
    "leftover_items",
    "run_items",
    "run_key",
    "snapshot_items",
    "snapshot_key",
]

HERE = "here"
TRASH = "trash"
"""Below the project's state: run folders that are being removed."""


class ProjectRuns(NamedTuple):
    """The runs of a project, and the disk space of each, by id."""

    facts: list[RunFacts]
    usage: dict[str, Usage]

    @classmethod
    def read(cls, project: Project, target: str = "") -> ProjectRuns:
        """The runs. Those without an end, or not let go of, are looked up first, on that target or on all.

        Raises:
            TargetError: the runs can't be listed.
        """
        from concurrent.futures import ThreadPoolExecutor

        folder = f"{project.state}/{RUNS}"
        ids = find.ids(project)
        # Most of the time both wait for the system: one of them lists folders while the other parses.
        with ThreadPoolExecutor(1) as beside:
            measured = beside.submit(lambda: {name: run_facts.usage(f"{folder}/{name}") for name in ids})
            facts = [run_facts.read(folder, name) for name in ids]
            usage = measured.result()
        for number, run in enumerate(facts):
            if (not run.is_finished or usage[run.run_id].is_due) and target in {"", run.target}:
                facts[number] = _looked_up(project, run)  # may bring its outputs home
                usage[run.run_id] = run_facts.usage(f"{folder}/{run.run_id}")
        return cls(facts, usage)


def _looked_up(project: Project, run: RunFacts) -> RunFacts:
    """The run as its target says: its submitting process may have been killed."""
    paths = RunPaths.of(project, run.run_id)
    with contextlib.suppress(AmlexecError, OSError):
        lifecycle.refresh(project, folders.read(paths))
    return run_facts.read(str(paths.folder.parent), run.run_id)


def run_key(run_id: str) -> str:
    """The key of a run."""
    return f"run:{run_id}"


def snapshot_key(tree: str) -> str:
    """The key of a snapshot."""
    return f"snapshot:{tree}"


def copy_key(run_id: str) -> str:
    """The key of a run's copy of the project on this machine."""
    return f"copy:{HERE}:{run_id}"


def run_items(
    project: Project, runs: ProjectRuns, needs: Mapping[str, Sequence[str]], pins: Mapping[str, str]
) -> Iterator[Item]:
    """Runs and their copies of the project.

    `needs` are more keys that runs need, by run id; `pins` are more reasons to keep runs, by run id.
    """
    for run in runs.facts:
        used = runs.usage[run.run_id]
        pin = _pin(project, run, used) or pins.get(run.run_id, "")
        needed = [*needs.get(run.run_id, ())]
        if run.tree:
            needed.append(snapshot_key(run.tree))
        if run.digest:
            needed.append(f"packages:{run.digest}")
        if run.lock:
            needed.append(f"lock:{run.lock}")
        moment = _seconds(run)
        if used.copy:
            needed.append(copy_key(run.run_id))
            kept = "" if run.is_finished and not run.has_uncollected else pin
            yield Item(
                copy_key(run.run_id), "copy", EXTRA, HERE, run.run_id, used.copy, pin=kept, used=moment
            )
        role = RUN if run.is_finished else ROOT
        yield Item(run_key(run.run_id), "run", role, HERE, run.run_id, used.kept, tuple(needed), pin, moment)


def _seconds(run: RunFacts) -> float:
    from amlexec.history.order import milliseconds

    return milliseconds(run.run_id) / 1000


def _pin(project: Project, run: RunFacts, used: Usage) -> str:
    if not run.status:
        return "its record can't be read"
    if not run.is_finished:
        return f"it is {run.status}"
    if run.has_uncollected:
        return "not all of its outputs were collected"
    if used.is_due and kinds.of(run.target_kind).is_service:
        return f"what {run.target} has of it could not be removed"  # nobody else knows where it is
    return "it is tagged" if used.has_tags and run_facts.has_tags(project, run.run_id) else ""


def snapshot_items(project: Project, trees: Sequence[str]) -> Iterator[Item]:
    """The snapshots; `trees` are those of all runs, the longest needed first.

    Raises:
        TargetError: git fails, or the repository is damaged.
    """
    found = objects.usage(project, trees)
    for tree, size in found.of_tree.items():
        yield Item(snapshot_key(tree), "snapshot", PART, HERE, tree[:12], size)
    if found.latest:
        pin = "the next snapshot builds on it"
        needs = (snapshot_key(found.latest),)
        yield Item("latest", "snapshot", ROOT, HERE, found.latest[:12], found.of_latest, needs, pin)
    if found.unneeded:
        yield Item("objects", "snapshot", PART, HERE, "objects of no snapshot", found.unneeded)


def leftover_items(project: Project) -> Iterator[Item]:
    """What killed processes left: in the project, where users wanted something, and in the key store."""
    for folder in leftovers.unfinished(project):
        size = run_facts.tree_size(str(folder))
        yield Item(f"unfinished:{folder.name}", "leftover", LEFTOVER, HERE, f"{RUNS}/{folder.name}", size)
    for folder in _entries(Path(project.state, TRASH)):
        size = run_facts.tree_size(str(folder))
        yield Item(f"trash:{folder.name}", "leftover", LEFTOVER, HERE, f"{TRASH}/{folder.name}", size)
    from amlexec.keystore import pending

    for path in (*outside.left(project), *pending.left()):
        with contextlib.suppress(FileNotFoundError):  # its process may have ended this moment
            size = run_facts.tree_size(str(path)) + path.lstat().st_blocks * 512
            yield Item(f"outside:{path}", "leftover", LEFTOVER, HERE, str(path), size)


def package_items(project: Project) -> Iterator[Item]:
    """Lists of packages and locks, which environments and runs need, by digest."""
    from amlexec.environments import last_prepared, resolved_lock

    by_digest: dict[str, list[Path]] = {}
    for path in _entries(last_prepared.folder(project)):
        digest = path.name[:64]
        if run_facts.is_digest(digest) and path.name[64:65] in {".", "-", "/", ""}:
            by_digest.setdefault(digest, []).append(path)
    for digest, paths in by_digest.items():
        size = sum(os.lstat(path).st_blocks * 512 for path in paths)
        yield Item(f"packages:{digest}", "packages", PART, HERE, digest[:20], size)
    for path in _entries(resolved_lock.folder(project)):
        name = path.name.removesuffix(".lock")
        if run_facts.is_digest(name) and path.name != name:
            size = os.lstat(path).st_blocks * 512
            yield Item(f"lock:{name}", "packages", PART, HERE, f"locks/{name[:20]}", size)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
