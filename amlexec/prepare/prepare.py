"""PREPARE: is an environment ready on its target, why not, and making it so. Once, for however many ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.config import load as config
from amlexec.environments import last_prepared
from amlexec.images.labels import DEFAULT

if TYPE_CHECKING:
    from amlexec.environments.request import Built, Order
    from amlexec.environments.store import Kept, Shelf
    from amlexec.model import ComputeTarget, Project
    from amlexec.progress import Progress

__all__ = [
    "Readiness",
    "Wanted",
    "note_gone",
    "prepare",
    "readiness",
    "ready",
    "reasons",
    "remember",
    "wanted",
    "why_not",
]

_NEVER = "it was never prepared here"


class Wanted(NamedTuple):
    """The environment of a run configuration, as its files declare it. Nobody was asked."""

    project: Project
    configuration: str
    target: ComputeTarget
    digest: str
    canonical: str
    order: Order


class Readiness(NamedTuple):
    """Whether an environment is there."""

    ready: bool
    digest: str
    reason: str
    """One sentence: why it is not, or what makes it up to date."""
    key: str = ""
    """Of what is there: an image's id, a folder's path."""
    python: str = ""
    """Version."""
    platform: str = ""


def wanted(
    project: Project, configuration: str, target: ComputeTarget, conda_file: str, spark_file: str = ""
) -> Wanted:
    """What the files declare, as a digest. Solves nothing, asks nobody.

    `spark_file` is the Spark dependencies file where the framework is PySpark, else "".

    Raises:
        ConfigurationError: a file is wrong, or refers to something that can't be followed.
    """
    from amlexec.digest import of_bytes
    from amlexec.environments import lockfile
    from amlexec.environments.request import Order
    from amlexec.environments.spec import canonical, requirements_of, spec_of
    from amlexec.packages.platforms import of_target

    dependencies = config.load_conda(project, conda_file)
    # Where nothing is mounted there is no `/azureml-share/`.
    shared = target.shared_folder(project) if target.kind == "docker" else ""
    found = requirements_of(project, dependencies, shared=shared)
    lock = lockfile.read(project, conda_file)
    spec = spec_of(
        project,
        "" if target.kind in {"remote", "cluster"} else target.base_docker_image or DEFAULT,
        dependencies,
        of_target(target),
        lock=lock,
        base_place=target.where("baseDockerImage"),
        shared=shared,
        pip=found,
    )
    order = Order(project, spec, "", dependencies, found, target.where("baseDockerImage"), lock)
    # Only an image has them baked in: on a machine, Spark keeps its own.
    if spark_file and order.spec.base_image:
        order = _with_packages(order, spark_file)
    text = canonical(order.spec).decode()
    digest = of_bytes(text.encode())
    return Wanted(project, configuration, target, digest, text, order._replace(digest=digest))


def _with_packages(order: Order, spark_file: str) -> Order:
    """The order, with the Maven packages that a Spark dependencies file names."""
    from amlexec.spark import maven

    declared = config.find_spark(order.project, spark_file)
    value = maven.value(order.project, declared)
    if not value:
        return order
    spec = order.spec._replace(
        spark=value,
        places=(*order.spec.places, (("spark", ""), declared.place)),
        files=(*order.spec.files, *maven.files(order.project, declared)),
    )
    return order._replace(spec=spec, spark=declared)


def readiness(want: Wanted, shelf: Shelf) -> Readiness:
    """Whether the environment is there: one small request, none where it was asked before.

    Raises:
        TargetError: that can't be asked now.
    """
    kept = shelf.get(want.digest)
    if kept is not None:
        return ready(kept, f"up to date: {shelf.there(kept.digest)}")
    return Readiness(False, want.digest, why_not(want, shelf))


def ready(kept: Kept, reason: str) -> Readiness:
    """That an environment is there."""
    return Readiness(True, kept.digest, reason, kept.key, kept.python, kept.platform)


def why_not(want: Wanted, shelf: Shelf) -> str:
    """Why an environment that is not there is to be made, in one sentence. Asks nobody."""
    first, *more = reasons(want, shelf)
    return f"{first} … and {len(more)} more" if more else first


def reasons(want: Wanted, shelf: Shelf) -> list[str]:
    """All that makes it necessary to make an environment which is not there, a sentence each. Asks nobody."""
    last = last_prepared.recall(want.project, want.configuration)
    if last is None:
        return [_NEVER]
    if last.digest == want.digest:
        return [shelf.gone()]
    from amlexec.environments.explain import explain_all

    return explain_all(last.canonical, want.canonical, want.order.spec.places) or [_NEVER]


def prepare(
    want: Wanted,
    shelf: Shelf,
    progress: Progress,
    *,
    refresh: bool = False,
    pull_from: str = "",
    forced: str = "",
) -> Readiness:
    """Make the environment ready, if it isn't.

    A second process that wants the same one waits for the first, and then finds it done. With `refresh`, it
    is also made anew where its base image has moved. `pull_from`, as `REGISTRY/REPOSITORY`, is where one
    that somebody has published is looked for before it is made. `forced` is the option that asks for it to be
    made anew although it is there, "" where none does.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: it can't be made, or what was published is not what it says.
    """
    found = readiness(want, shelf)
    kept = shelf.get(want.digest)
    if kept is not None and refresh:
        reason = shelf.moved(kept, want.order, progress)
        same = f"{found.reason}, made of its newest base" if kept.base else found.reason
        found = found._replace(ready=not reason, reason=reason or same)
    if kept is not None and forced:
        found = found._replace(ready=False, reason=f"{forced} asks for it")
        want = want._replace(order=want.order._replace(anew=True))
    if found.ready:
        remember(want, found)
        return found
    progress.step(f"{want.configuration}: {found.reason}")
    with shelf.turn(want.digest, progress):
        shelf.forget()
        again = readiness(want, shelf)
        if not again.ready or again.key == found.key:
            again = _made(want, shelf, progress, found, pull_from)
    remember(want, again)
    return again


def _made(want: Wanted, shelf: Shelf, progress: Progress, old: Readiness, pull_from: str) -> Readiness:
    """The environment, pulled or built; `old` says why, and which image it replaces, if any."""
    from amlexec.environments.build_log import Log

    built: Built | None = None
    # Two machines may be given the same environment at the same time.
    name = want.digest if want.target.kind == "docker" else f"{want.digest}-{want.target.name}"
    with Log(last_prepared.folder(want.project) / f"{name}.log") as log:
        log.line(f"{want.configuration}: {old.reason}")
        if pull_from and not old.key:
            said, built = "pulled", shelf.pull(want.order, pull_from, progress, log)
        if built is None:
            said, built = "prepared", shelf.build(want.order, progress, log)
    last_prepared.keep_packages(want.project, want.digest, built)
    shelf.forget()
    kept = shelf.get(want.digest)
    assert kept is not None, "it was just published"
    if old.key and old.key != kept.key:
        shelf.replaced(old.key)
    return ready(kept, f"{said} for the first time" if old.reason == _NEVER else f"{said}: {old.reason}")


def note_gone(want: Wanted) -> None:
    """Keep that the environment, which was there before, is there no more: who asks nobody says so too."""
    last = last_prepared.recall(want.project, want.configuration)
    if last is not None and last.key and (last.digest, last.target) == (want.digest, want.target.name):
        last_prepared.remember(want.project, want.configuration, last._replace(key=""))


def remember(want: Wanted, found: Readiness) -> None:
    """Keep what the environment of a run configuration is now, and why it was made."""
    last = last_prepared.recall(want.project, want.configuration)
    if last is None or (last.digest, last.key, last.target) != (want.digest, found.key, want.target.name):
        now = last_prepared.Remembered(
            want.digest, want.canonical, found.key, found.reason, want.target.name, want.target.kind
        )
        last_prepared.remember(want.project, want.configuration, now)
