"""PREPARE: is an environment ready on its target, why not, and making it so. Once, for however many ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec import config
from amlexec.environments import memory
from amlexec.environments.image import DEFAULT, reference

if TYPE_CHECKING:
    from amlexec.environments.image import Image, Shelf
    from amlexec.environments.order import Order
    from amlexec.model import ComputeTarget, Project
    from amlexec.progress import Progress

__all__ = ["Readiness", "Wanted", "prepare", "readiness", "ready", "remember", "wanted", "why_not"]

_NEVER = "it was never prepared here"


class Wanted(NamedTuple):
    """The environment of a run configuration, as its files declare it. Nobody was asked."""

    project: Project
    configuration: str
    digest: str
    canonical: str
    order: Order


class Readiness(NamedTuple):
    """Whether an environment is there."""

    ready: bool
    digest: str
    reason: str
    """One sentence: why it is not, or what makes it up to date."""
    image_id: str = ""
    python: str = ""
    """Version."""
    platform: str = ""


def wanted(project: Project, configuration: str, target: ComputeTarget, conda_file: str) -> Wanted:
    """What the files declare, as a digest. Solves nothing, asks nobody.

    Raises:
        ConfigurationError: a file is wrong, or refers to something that can't be followed.
    """
    from amlexec import lockfile
    from amlexec.digest import of_bytes
    from amlexec.environments.order import Order
    from amlexec.environments.spec import canonical, requirements_of, shared_folder, spec_of
    from amlexec.platforms import of_target

    dependencies = config.load_conda(project, conda_file)
    shared = shared_folder(project, target)
    found = requirements_of(project, dependencies, shared=shared)
    lock = lockfile.read(project, conda_file)
    spec = spec_of(
        project,
        target.base_docker_image or DEFAULT,
        dependencies,
        of_target(target),
        lock=lock,
        base_place=target.place,
        shared=shared,
        pip=found,
    )
    text = canonical(spec).decode()
    digest = of_bytes(text.encode())
    order = Order(project, spec, digest, dependencies, found, target.place, lock)
    return Wanted(project, configuration, digest, text, order)


def readiness(want: Wanted, shelf: Shelf) -> Readiness:
    """Whether the engine has the environment: one small request, none where it was asked before.

    Raises:
        EngineError: the engine can't be asked.
    """
    image = shelf.get(want.digest)
    if image is not None:
        return ready(image)
    return Readiness(False, want.digest, why_not(want))


def ready(image: Image, reason: str = "") -> Readiness:
    """That the engine has an environment."""
    told = reason or f"up to date: the engine has {reference(image.digest)}"
    return Readiness(True, image.digest, told, image.image_id, image.python, image.platform)


def why_not(want: Wanted) -> str:
    """Why an environment that the engine does not have is to be made, in one sentence."""
    last = memory.recall(want.project, want.configuration)
    if last is None:
        return _NEVER
    if last.digest == want.digest:
        return "its image is no longer on the engine"
    from amlexec.environments.reason import explain

    return explain(last.canonical, want.canonical, want.order.spec.places) or _NEVER


def prepare(
    want: Wanted, shelf: Shelf, progress: Progress, *, refresh: bool = False, pull_from: str = ""
) -> Readiness:
    """Make the environment ready, if it isn't.

    A second process that wants the same one waits for the first, and then finds it done. With `refresh`, it
    is also made anew where its base image has moved. `pull_from`, as `REGISTRY/REPOSITORY`, is where one
    that somebody has published is looked for before it is made.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: it can't be made, or what was published is not what it says.
    """
    found = readiness(want, shelf)
    image = shelf.get(want.digest)
    if image is not None and refresh:
        from amlexec.environments import base

        known = image.base
        spec = want.order.spec
        reason = base.moved(shelf.engine, spec.base_image, want.order.base_place, known, progress)
        found = found._replace(ready=not reason, reason=reason or f"{found.reason}, made of its newest base")
    if found.ready:
        remember(want, found)
        return found
    from amlexec.environments.turns import turn

    progress.step(f"{want.configuration}: {found.reason}")
    with turn(shelf.engine, want.digest, "prepares the same environment", progress):
        shelf.forget()
        again = readiness(want, shelf)
        if not again.ready or again.image_id == found.image_id:
            again = _made(want, shelf, progress, found, pull_from)
    remember(want, again)
    return again


def _made(want: Wanted, shelf: Shelf, progress: Progress, old: Readiness, pull_from: str) -> Readiness:
    """The environment, pulled or built; `old` says why, and which image it replaces, if any."""
    from amlexec.environments import building
    from amlexec.environments.log import Log

    said, built = "prepared", None
    with Log(memory.folder(want.project) / f"{want.digest}.log") as log:
        log.line(f"{want.configuration}: {old.reason}")
        if pull_from and not old.image_id:
            from amlexec import publishing

            said, built = "pulled", publishing.pull(shelf.engine, want.order, pull_from, progress, log)
        if built is None:
            said, built = "prepared", building.build(shelf.engine, want.order, progress, log)
    memory.keep_packages(want.project, want.digest, built)
    shelf.forget()
    image = shelf.get(want.digest)
    assert image is not None, "it was just published"
    if old.image_id and old.image_id != image.image_id:
        from amlexec.environments import removal

        removal.discard(shelf.engine, old.image_id)
    return ready(image, f"{said}: {old.reason}")


def remember(want: Wanted, found: Readiness) -> None:
    """Keep what the environment of a run configuration is now, and why it was made."""
    last = memory.recall(want.project, want.configuration)
    if last is None or (last.digest, last.image_id) != (want.digest, found.image_id):
        now = memory.Remembered(want.digest, want.canonical, found.image_id, found.reason)
        memory.remember(want.project, want.configuration, now)
