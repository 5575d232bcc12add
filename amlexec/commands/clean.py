"""`amlexec experiment clean`: free the disk space of runs and environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from amlexec import console, kinds
from amlexec.commands.output import size
from amlexec.docker.errors import EngineAbsentError, EngineDeniedError
from amlexec.errors import AmlexecError, ConfigurationError, TargetError, UnreachableError, UsageError
from amlexec.history import find, uncollected
from amlexec.history.paths import RunPaths
from amlexec.history.record import FINAL
from amlexec.owner import owner_of
from amlexec.runs import lifecycle
from amlexec.targets.registry import target_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from amlexec.environments.store import EnvironmentStore, Removal
    from amlexec.history.record import Run
    from amlexec.targets.docker import DockerTarget
    from amlexec.values import ComputeTarget, Project

__all__ = ["clean", "removal_lines"]

_IN_USE_AGE_S = 3600.0
"""Younger cache entries may be in use by another process."""


def clean(project: Project, arguments: argparse.Namespace) -> int:
    """Run the command; the exit code. Raises what its parts raise."""
    if arguments.environments:
        return _environments(project)
    if arguments.source:
        return _elsewhere(project, arguments)
    copies, code = (
        (lifecycle.clean(project, find.find(project, arguments.run)), 0) if arguments.run else _all(project)
    )
    where = {place: copies.count(place) for place in sorted(copies)}
    places = ", ".join(f"{count} {place}" for place, count in where.items()) if {*where} - {"here"} else ""
    count = _number(len(copies), "copy", "copies")
    console.say(f"{count} of the project removed{f': {places}' if places else ''}")
    return code


def _elsewhere(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.runs.remote import RemoteRuns

    if not arguments.run:
        raise UsageError("--from needs a run", hint="name it: -r RUN")
    machine = RemoteRuns(project, arguments.source)
    record = machine.find(arguments.run)
    machine.remove(record)
    console.say(f"{record.run_id} removed from {machine.name}")
    return 0


def _all(project: Project) -> tuple[list[str], int]:
    """The places of the removed copies, and the exit code. A failure for one run does not stop the others."""
    runs, problems = find.runs(project)
    for problem in problems:
        console.say(problem.lines()[0])
    copies: list[str] = []
    code = 0
    for record in runs:
        try:
            copies += _copies_of(project, record)
        except (AmlexecError, OSError) as error:
            code = console.show(error)
    from amlexec.config import cache
    from amlexec.runs import leftovers

    cache.sweep(project.state, _IN_USE_AGE_S)
    if unfinished := leftovers.folders(project):
        console.say(f"{_number(len(unfinished), 'unfinished run folder', 'unfinished run folders')} removed")
    if left := leftovers.files(project):
        console.say(f"{_number(left, 'half-written file', 'half-written files')} removed")
    _containers(project, runs)
    return copies, code


def _containers(project: Project, runs: Sequence[Run]) -> None:
    """Remove the containers that killed processes left on the engines of these runs."""
    from amlexec.runs import leftovers

    used = {(record.target, record.target_kind) for record in runs}
    elsewhere = sorted(each for each in used if kinds.of(each[1]).on_remote_engine)
    for name, kind in [("", kinds.DOCKER.name), *elsewhere]:
        try:
            target = cast("DockerTarget", target_of(project, name, kind))
            left = leftovers.containers(project, target)
            builds = target.remove_builds()
        except (EngineAbsentError, EngineDeniedError, UnreachableError) as error:
            # Without runs in Docker, no engine is expected.
            if name or any(kinds.of(each[1]).on_local_engine for each in used):
                where = f" on {name}" if name else ""
                console.say(f"leftover containers{where} could not be looked up: {error.message}")
            continue
        except ConfigurationError:
            continue  # the target no longer exists, so its address is unknown
        for run_id in left:
            console.say(f"the container of the run {run_id} removed")
        if builds:
            console.say(f"{_number(builds, 'container', 'containers')} of killed builds removed")


def _copies_of(project: Project, record: Run) -> list[str]:
    """Remove the copies of a finished run, unless they have the only copy of its outputs; their places."""
    run = lifecycle.refresh(project, record)
    if run.status not in FINAL:
        return []
    if uncollected.is_kept(run):
        console.say(
            f"{run.run_id}: its copy of the project is kept, because not all outputs were collected: "
            f"amlexec experiment clean -r {run.run_id} removes it"
        )
        return []
    return lifecycle.clean(project, RunPaths.of(project, run.run_id))


def _environments(project: Project) -> int:
    """Remove this project's environments from the engine and from every machine of its targets."""
    from amlexec.environments import last_prepared
    from amlexec.environments.ownership import ownership

    owner, is_ours = owner_of(project), ownership(project)
    code = 0
    gone: set[str] = set()
    kept: set[str] = set()
    for store in _stores(project):
        try:
            ours = [environment.digest for environment in store.all().values() if is_ours(environment)]
            removals = [*store.remove(ours, project.name), *store.sweep(project.name, owner)]
            for line in removal_lines(removals):
                console.say(line)
            left = {*ours} & store.all().keys() if ours else set()
        except TargetError as error:
            # An unreachable machine must not stop the cleanup of others.
            code = console.show(error)
            continue
        gone |= {*ours} - left
        kept |= left
    last_prepared.forget_removed(project, gone - kept)
    return code


def _stores(project: Project) -> Iterator[EnvironmentStore]:
    """The stores with environments of the project's targets, each once; the engine comes first."""
    from amlexec.config import load as config
    from amlexec.docker.client import from_environment
    from amlexec.images.store import ImageStore
    from amlexec.prepare.stores import store_of

    machines: dict[tuple[str, str, str], ComputeTarget] = {}
    has_docker = False
    for name in config.compute_targets(project):
        try:
            target = config.load_target(project, name)
        except ConfigurationError as error:
            console.say(error.lines()[0])
            continue
        has_docker = has_docker or kinds.of(target.kind).on_local_engine
        if kinds.is_prepared(target) and target.address:
            machines.setdefault((target.kind, target.address, target.username), target)
    if has_docker or not machines:
        yield ImageStore(from_environment())
    for target in machines.values():
        yield store_of(target)


def removal_lines(removals: Sequence[Removal], *, dry_run: bool = False) -> list[str]:
    """The lines about what was removed, and how much disk space that freed."""
    lines = [
        f"{removal.reference}: kept: {removal.kept}"
        if removal.kept
        else f"{removal.reference}: {'would be removed' if dry_run else 'removed'}, {size(removal.size)}"
        for removal in removals
    ]
    gone = [removal for removal in removals if not removal.kept]
    singular, plural = ("environment", "environments") if _are_folders(removals) else ("image", "images")
    count = _number(len(gone), singular, plural)
    if dry_run:
        return [*lines, f"{count} would be removed, {size(sum(removal.size for removal in gone))}"]
    return [*lines, f"{count} removed, {size(sum(removal.size for removal in gone))} freed"]


def _are_folders(removals: Sequence[Removal]) -> bool:
    return any("~/" in removal.reference for removal in removals)


def _number(count: int, singular: str, plural: str) -> str:
    return f"{count} {singular if count == 1 else plural}"
