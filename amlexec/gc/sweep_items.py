"""The project's sweeps: what a sweep needs that is running, or that can be resumed."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import TargetError
from amlexec.gc.model import ROOT, RUN, Item
from amlexec.gc.project_items import HERE, snapshot_key
from amlexec.gc.run_facts import tree_size
from amlexec.sweeps import store
from amlexec.sweeps.sweep import total

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.sweeps.store import SweepPaths
    from amlexec.values import Project

__all__ = ["Sweeps", "read", "sweep_key"]


class Sweeps(NamedTuple):
    """The sweeps of a project."""

    items: list[Item]
    pins: dict[str, str]
    """Why runs of sweeps must stay, by run id."""
    trees: list[str]
    """The snapshots of sweeps that go on."""
    digests: set[str]
    """The environments of sweeps that go on."""
    created: dict[str, str]
    """When each sweep that may be removed began, by id."""


def sweep_key(sweep_id: str) -> str:
    """The key of a sweep."""
    return f"sweep:{sweep_id}"


def read(project: Project, environments: Mapping[str, Sequence[str]]) -> Sweeps:
    """The sweeps; `environments` are the keys of environments by digest."""
    found = Sweeps([], {}, [], set(), {})
    for sweep_id in store.ids(project):
        paths = store.find(project, sweep_id)
        size = tree_size(str(paths.folder))
        try:
            _add(found, paths, size, environments)
        except (TargetError, OSError):
            pin = "its definition or its journal can't be read"
            found.items.append(Item(sweep_key(sweep_id), "sweep", ROOT, HERE, sweep_id, size, pin=pin))
    return found


def _add(found: Sweeps, paths: SweepPaths, size: int, environments: Mapping[str, Sequence[str]]) -> None:
    name = paths.folder.name
    definition, states = store.load(paths), store.states(paths)
    is_running = store.is_running(paths)
    needs: list[str] = []
    if is_running or sum(state.is_over for state in states.values()) < total(definition):
        needs.append(snapshot_key(definition.snapshot.tree))
        found.trees.append(definition.snapshot.tree)
        for target in definition.targets:
            digest = target.digest.removeprefix("sha256:")
            if digest:
                found.digests.add(digest)
                needs += [*environments.get(digest, ()), f"packages:{digest}"]
    if is_running:
        for state in states.values():
            for run_id in (state.run_id, *state.earlier):
                found.pins[run_id] = f"its sweep {name} is running"
    else:
        found.created[name] = definition.created_utc
    role, pin = (ROOT, "it is running") if is_running else (RUN, "")
    began = datetime.fromisoformat(definition.created_utc[:-1]).replace(tzinfo=timezone.utc).timestamp()
    found.items.append(Item(sweep_key(name), "sweep", role, HERE, name, size, tuple(needs), pin, began))
