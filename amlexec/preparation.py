"""PREPARE: is an environment ready on its target, why not, and making it so. Once, for however many ask."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import config, locks
from amlexec.environments import memory
from amlexec.environments.base import DEFAULT
from amlexec.environments.reason import explain
from amlexec.environments.spec import canonical, requirements_of, spec_of
from amlexec.platforms import of_image

if TYPE_CHECKING:
    from amlexec.engine import Engine
    from amlexec.environments.building import Order
    from amlexec.environments.image import Image, Shelf
    from amlexec.environments.memory import Remembered
    from amlexec.model import ComputeTarget, Project
    from amlexec.progress import Progress

__all__ = ["Readiness", "Wanted", "prepare", "readiness", "wanted"]

_LOCKED_SECONDS = 3600.0
"""How long another process may take to make the same environment before waiting for it is given up."""


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
    from amlexec.environments.building import Order

    dependencies = config.load_conda(project, conda_file)
    found = requirements_of(project, dependencies)
    spec = spec_of(
        project,
        target.base_docker_image or DEFAULT,
        dependencies,
        of_image("linux", os.uname().machine),
        base_place=target.place,
        pip=found,
    )
    text = canonical(spec).decode()
    from amlexec.digest import of_bytes

    digest = of_bytes(text.encode())
    order = Order(project, spec, digest, dependencies, found, target.place)
    return Wanted(project, configuration, digest, text, order)


def readiness(want: Wanted, shelf: Shelf) -> Readiness:
    """Whether the engine has the environment: one small request, none where it was asked before.

    Raises:
        EngineError: the engine can't be asked.
    """
    image = shelf.get(want.digest)
    last = memory.recall(want.project, want.configuration)
    if image is not None:
        return _ready(want, image, f"up to date: the engine has {_name(image)}")
    return Readiness(False, want.digest, _why(want, last))


def _ready(want: Wanted, image: Image, reason: str) -> Readiness:
    return Readiness(True, want.digest, reason, image.image_id, image.python, image.platform)


def _name(image: Image) -> str:
    from amlexec.environments.image import reference

    return reference(image.digest)


def _why(want: Wanted, last: Remembered | None) -> str:
    if last is None:
        return "it was never prepared here"
    if last.digest == want.digest:
        return "its image is no longer on the engine"
    return explain(last.canonical, want.canonical, want.order.spec.places) or "it was never prepared here"


def prepare(want: Wanted, shelf: Shelf, progress: Progress, *, refresh: bool = False) -> Readiness:
    """Make the environment ready, if it isn't.

    A second process that wants the same one waits for the first, and then finds it done.

    Raises:
        ConfigurationError: the dependencies can't be fulfilled.
        TargetError: it can't be made.
    """
    found = readiness(want, shelf)
    if found.ready and not refresh:
        memory.remember(want.project, want.configuration, want.digest, want.canonical, found.image_id, None)
        return found
    from amlexec.environments import building
    from amlexec.environments.log import Log

    lock = _lock(shelf.engine, want.digest)
    _tell_who(lock, progress)
    with locks.exclusive(str(lock), _LOCKED_SECONDS):
        shelf.forget()
        again = readiness(want, shelf)
        if not again.ready or refresh:
            at = memory.folder(want.project) / f"{want.digest}.log"
            with Log(at) as log:
                order = want.order._replace(refresh=refresh)
                built = building.build(shelf.engine, order, progress, log)
            shelf.forget()
            memory.remember(
                want.project, want.configuration, want.digest, want.canonical, built.image_id, built
            )
            image = shelf.get(want.digest)
            assert image is not None, "it was just published"
            return _ready(want, image, f"prepared: {found.reason}")
    memory.remember(want.project, want.configuration, want.digest, want.canonical, again.image_id, None)
    return again


def _lock(engine: Engine, digest: str) -> Path:
    """The lock of an environment of an engine: for all users of this machine, since they share the engine."""
    from amlexec.digest import of_bytes

    folder = Path(tempfile.gettempdir(), "amlexec-locks")
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    return folder / f"{of_bytes(engine.address.encode())[:8]}-{digest[:20]}"


def _tell_who(lock: Path, progress: Progress) -> None:
    held = locks.take(str(lock))
    if held is not None:
        held.release()
        return
    who = lock.read_text("ascii", "replace").strip()
    progress.step(f"waiting for process {who}, which prepares the same environment since {_clock(lock)}")


def _clock(lock: Path) -> str:
    return time.strftime("%H:%M:%S", time.localtime(lock.stat().st_mtime))
