"""Take the inventory of a project: everything that takes disk space, here and on its targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import ConfigurationError, TargetError
from amlexec.gc import model_pins, project_items, rules, sweep_items
from amlexec.gc.model import ROOT, Inventory, Item
from amlexec.gc.project_items import HERE, ProjectRuns, run_key
from amlexec.gc.sweep_items import sweep_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.gc.places import Place
    from amlexec.gc.rules import Rules, Selection
    from amlexec.gc.sweep_items import Sweeps
    from amlexec.values import Project

__all__ = ["Taken", "take"]


class Taken(NamedTuple):
    """An inventory, and what the rules say about the runs in it."""

    inventory: Inventory
    chosen: dict[str, str]
    """The keys of what the rules remove, and why."""
    spared: dict[str, str]
    """The keys of what the rules keep, and why."""


def take(
    project: Project,
    wanted: Rules,
    places: Sequence[Place],
    unclear: Mapping[str, Exception],
    *,
    with_caches: bool,
) -> Taken:
    """The inventory. A place that can't be asked is a problem; it stops no other.

    `unclear` are the errors of compute targets whose place is unknown.

    Raises:
        TargetError: the project's own folder can't be read.
    """
    runs = ProjectRuns.read(project, wanted.target)
    selection = rules.select(runs.facts, wanted)
    problems = [*unclear.values()]
    items: list[Item] = []
    silent = {name: f"{name} can't be asked, and may have files of it" for name in unclear}
    for place in places:
        try:
            items += place.items(runs)
        except (TargetError, ConfigurationError) as error:
            problems.append(error)
            silent |= {name: f"{name} can't be asked, and may have files of it" for name in place.targets}
    by_digest: dict[str, list[str]] = {}
    by_run: dict[str, list[str]] = {}
    for item in items:
        by_digest.setdefault(item.digest, []).append(item.key)
        by_run.setdefault(item.run_id, []).append(item.key)
    needs = {
        run.run_id: [*by_run.get(run.run_id, ()), *(by_digest.get(run.digest, ()) if run.digest else ())]
        for run in runs.facts
    }
    sweeps = sweep_items.read(project, by_digest)
    items += sweeps.items
    models, unread = model_pins.read(project, [run.run_id for run in runs.facts])
    problems += unread
    pins = {run.run_id: silent[run.target] for run in runs.facts if run.target in silent}
    pins |= models | sweeps.pins
    items += project_items.run_items(project, runs, needs, pins)
    items += project_items.snapshot_items(
        project, [*sweeps.trees, *_longest_needed_first(items, runs, selection)]
    )
    items += project_items.leftover_items(project)
    items += project_items.package_items(project)
    items += _configurations(project, by_digest)
    if with_caches:
        from amlexec.gc import cache_items

        items += cache_items.items()
    chosen = {run_key(run_id): why for run_id, why in selection.removed.items()}
    spared = {run_key(run_id): why for run_id, why in selection.spared.items()}
    removed, kept = _sweeps(sweeps, wanted)
    return Taken(Inventory(tuple(items), tuple(problems)), {**chosen, **removed}, {**spared, **kept})


def _sweeps(sweeps: Sweeps, wanted: Rules) -> tuple[dict[str, str], dict[str, str]]:
    """Only the age removes a sweep: it can be resumed, and no other rule compares sweeps."""
    if not wanted.created_before:
        return {}, {}
    chosen, spared = {}, {}
    for sweep_id, created in sweeps.created.items():
        if created < wanted.created_before:
            chosen[sweep_key(sweep_id)] = "older than --older-than"
        else:
            spared[sweep_key(sweep_id)] = "younger than --older-than"
    return chosen, spared


def _longest_needed_first(items: Sequence[Item], runs: ProjectRuns, selection: Selection) -> list[str]:
    """The trees of all runs, in the opposite of the order in which a limit removes runs."""
    by_key = {item.key: item for item in items}

    def stays(run_id: str) -> tuple[bool, bool, float, str]:
        item = by_key[run_key(run_id)]
        is_pinned = bool(item.pin) or item.role == ROOT or run_id in selection.spared
        return is_pinned, run_id not in selection.removed, item.used, item.key

    ordered = sorted((run for run in runs.facts if run.tree), key=lambda run: stays(run.run_id), reverse=True)
    return list(dict.fromkeys(run.tree for run in ordered))


def _configurations(project: Project, by_digest: dict[str, list[str]]) -> list[Item]:
    """The environments that run configurations declare or had last: the next run may use them."""
    from amlexec.gc import declared

    found = []
    for name, digests in declared.environments(project).items():
        needs = [key for digest in digests for key in (*by_digest.get(digest, ()), f"packages:{digest}")]
        pin = f"the run configuration {name} uses it"
        found.append(Item(f"configuration:{name}", "configuration", ROOT, HERE, name, 0, tuple(needs), pin))
    return found
