"""`amlexec experiment clean`: give back the room that runs and environments take."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from amlexec import console, kinds
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

    from amlexec.environments.store import EnvironmentStore, Installed, Removal
    from amlexec.history.record import Run
    from amlexec.model import ComputeTarget, Project
    from amlexec.targets.docker import DockerTarget

__all__ = ["clean", "told"]

_IN_USE_AGE_S = 3600.0
"""What was remembered within this time, another process may just be using."""


def clean(project: Project, arguments: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code. Raises what its parts raise."""
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
    """Where copies were removed, and the exit code: one run that can't be cleaned keeps no other."""
    known, problems = find.runs(project)
    for problem in problems:
        console.say(problem.lines()[0])
    copies: list[str] = []
    code = 0
    for record in known:
        try:
            copies += _copies_of(project, record)
        except (AmlexecError, OSError) as error:
            code = console.show(error)
    from amlexec.config import cache
    from amlexec.runs import leftovers

    cache.sweep(project.state, _IN_USE_AGE_S)
    if half_made := leftovers.folders(project):
        console.say(f"{_number(len(half_made), 'half-made folder', 'half-made folders')} of runs removed")
    if left := leftovers.files(project):
        console.say(f"{_number(left, 'half-written file', 'half-written files')} removed")
    _containers(project, known)
    return copies, code


def _containers(project: Project, known: Sequence[Run]) -> None:
    """Remove what killed processes have left on the engines of these runs."""
    from amlexec.runs import leftovers

    used = {(record.target, record.target_kind) for record in known}
    elsewhere = sorted(each for each in used if kinds.of(each[1]).on_remote_engine)
    for name, kind in [("", kinds.DOCKER.name), *elsewhere]:
        try:
            target = cast("DockerTarget", target_of(project, name, kind))
            left = leftovers.containers(project, target)
            builds = target.remove_builds()
        except (EngineAbsentError, EngineDeniedError, UnreachableError) as error:
            # Where nobody uses Docker there is nothing to look for.
            if name or any(kinds.of(each[1]).on_local_engine for each in used):
                where = f" on {name}" if name else ""
                console.say(f"containers{where} were not looked for: {error.message}")
            continue
        except ConfigurationError:
            continue  # the target is no more, and nobody knows where it was
        for run_id in left:
            console.say(f"the container of the run {run_id} removed")
        if builds:
            console.say(f"{_number(builds, 'container', 'containers')} of prepares that were killed removed")


def _copies_of(project: Project, record: Run) -> list[str]:
    """Remove the copies of a run that is over, unless they alone have outputs of it; where they were."""
    run = lifecycle.refresh(project, record)
    if run.status not in FINAL:
        return []
    if uncollected.is_kept(run):
        console.say(
            f"{run.run_id}: its copy of the project is kept, for not all of its outputs were brought home: "
            f"amlexec experiment clean -r {run.run_id} removes it"
        )
        return []
    return lifecycle.clean(project, RunPaths.of(project, run.run_id))


def _environments(project: Project) -> int:
    """Remove them from the engine, and from every machine that keeps some for this project."""
    from amlexec.environments import last_prepared

    owner, remembered = owner_of(project), last_prepared.digests(project)

    def is_ours(one: Installed) -> bool:
        # Another folder may have the same name; what was pulled was made elsewhere.
        return one.project == project.name and (one.owner == owner or one.digest in remembered)

    code = 0
    gone: set[str] = set()
    kept: set[str] = set()
    for store in _stores(project):
        try:
            ours = [one.digest for one in store.all().values() if is_ours(one)]
            removals = [*store.remove(ours, project.name), *store.sweep(project.name, owner)]
            for line in told(removals):
                console.say(line)
            left = {*ours} & store.all().keys() if ours else set()
        except TargetError as error:
            # A machine that can't be reached keeps nobody from making room on the others.
            code = console.show(error)
            continue
        gone |= {*ours} - left
        kept |= left
    last_prepared.forget_removed(project, gone - kept)
    return code


def _stores(project: Project) -> Iterator[EnvironmentStore]:
    """Each place that keeps environments of the project's targets, once; the engine comes first."""
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


def told(removals: Sequence[Removal], *, dry_run: bool = False) -> list[str]:
    """The lines about what was removed, and how much room that gave back."""
    lines = [
        f"{one.reference}: kept: {one.kept}"
        if one.kept
        else f"{one.reference}: {'would be removed' if dry_run else 'removed'}, {_size(one.size)}"
        for one in removals
    ]
    gone = [one for one in removals if not one.kept]
    one, many = ("environment", "environments") if _are_folders(removals) else ("image", "images")
    count = _number(len(gone), one, many)
    if dry_run:
        return [*lines, f"{count} would be removed, {_size(sum(one.size for one in gone))}"]
    return [*lines, f"{count} removed, {_size(sum(one.size for one in gone))} freed"]


def _are_folders(removals: Sequence[Removal]) -> bool:
    return any("~/" in one.reference for one in removals)


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"
