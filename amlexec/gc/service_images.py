"""The images of services on an engine: which of them are used, and the removal of the others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from amlexec.docker import containers, images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import (
    DIGEST,
    PROJECT,
    SERVICE,
    SERVICE_CONTENT,
    SERVICE_ENVIRONMENT,
    SERVICE_OWNER,
    SERVICE_SETTINGS,
)
from amlexec.gc import needed
from amlexec.gc.model import CACHE, LEFTOVER, PART, ROOT, Item
from amlexec.gc.places import Outcome
from amlexec.images.inventory import names_of
from amlexec.owner import owner_of
from amlexec.services import retired
from amlexec.services.containers import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.docker.client import Engine
    from amlexec.values import Project

__all__ = ["KIND", "items", "remove"]

KIND = "service image"
_OURS = "amlexec-service/"
"""The beginning of the names that amlexec gives them."""
_HALF_MADE_AGE_S = 600.0


def items(engine: Engine, project: Project, place: str, prefix: str) -> Iterator[Item]:
    """The images of this project's services. Raises EngineError.

    The newest image of a name may be deployed later: it is kept like a cache until its service is deleted.
    """
    found = images.find(engine, {SERVICE_CONTENT: ""})
    ours = [image for image in found if _is_of(image, project)]
    if not ours:
        return
    below = {
        (image.get("Labels") or {}).get(DIGEST): int(image.get("Size", 0))
        for image in images.find(engine, {DIGEST: ""})
    }
    used, gone = _used(engine), retired.read(project)
    for image in ours:
        names = names_of(image)
        environment = image["Labels"].get(SERVICE_ENVIRONMENT, "")
        size = max(0, int(image.get("Size", 0)) - below.get(environment, 0))
        if environment not in below:
            size = int(images.history(engine, image["Id"])[0]["Size"])
        made = float(image.get("Created", 0))
        role, pin = PART, used.get(image["Id"], "")
        other = [name for name in names if not name.startswith(_OURS)]
        if not pin and other:
            pin = f"it also has the name {other[0]}"
        if pin:
            role = ROOT
        elif not names:
            if time.time() - made < _HALF_MADE_AGE_S:
                continue  # perhaps it is being made
            role = LEFTOVER
        elif any(name.endswith(":latest") for name in names) and image["Id"] not in gone:
            role = CACHE
        shown = min(names, key=lambda name: name.endswith(":latest")) if names else image["Id"][:19]
        yield Item(
            *(f"{prefix}{image['Id']}", KIND, role, place, shown, size, (f"{prefix}{environment}",), pin),
            used=made,
            ids=(image["Id"],),
        )


def _is_of(image: dict[str, Any], project: Project) -> bool:
    labels = image.get("Labels") or {}
    owner = owner_of(project)
    # Images of earlier versions have no owner.
    return labels.get(PROJECT) == project.name and labels.get(SERVICE_OWNER, owner) == owner


def _used(engine: Engine) -> dict[str, str]:
    """Why images stay, by id: a container has them, or a service can go back to them."""
    reasons: dict[str, str] = {}
    for container in containers.find(engine, {}):
        labels = container.get("Labels") or {}
        name = labels.get(SERVICE, "")
        image = str(container.get("ImageID", ""))
        image = image if image.startswith("sha256:") else f"sha256:{image}"
        if not name:
            reasons.setdefault(image, "a container uses it")
            continue
        reasons[image] = f"the service {name} runs it"
        try:
            previous = Settings.of(labels.get(SERVICE_SETTINGS, "")).previous
        except (ValueError, TypeError):
            continue
        if previous:
            reasons.setdefault(previous, f"the service {name} can be rolled back to it")
    return reasons


def remove(engine: Engine, project: Project, found: Sequence[Item]) -> list[Outcome]:
    """Remove images, unless something uses them by now."""
    with needed.unless_begun(project) as why:
        used = {} if why else _used(engine)
        return [
            Outcome(item, why or used.get(item.ids[0]) or _removed(engine, project, item)) for item in found
        ]


def _removed(engine: Engine, project: Project, item: Item) -> str:
    """Remove an image; why it was not removed, or ""."""
    image_id = item.ids[0]
    image = images.inspect(engine, image_id)
    names = [] if image is None else names_of(image)
    if other := [name for name in names if not name.startswith(_OURS)]:
        return f"it also has the name {other[0]}"
    try:
        # By its names, not by its id: at this moment, another process may give it a further name.
        for name in names or [image_id]:
            images.remove(engine, name)
    except EngineAnswerError as error:
        if error.status != 409:
            raise
        return f"it is in use: {error.reason}"
    retired.use(project, image_id)
    return ""
