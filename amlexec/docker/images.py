"""Images of a Docker engine: look up, tag, pull, push, save, load and remove.

Errors are those of `amlexec.docker.errors`.
"""

from __future__ import annotations

import json
import re

from amlexec.docker import probe
from amlexec.docker.errors import EngineAnswerError, EngineLostError
from amlexec.docker.login import login_of, registry_of
from amlexec.docker.names import image_name
from amlexec.docker.reference import short
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import IO, Any

    from amlexec.docker.client import Engine

__all__ = [
    "TransferProgress",
    "commit",
    "find",
    "import_root",
    "inspect",
    "pull",
    "push",
    "remove",
    "split",
    "tag",
]


class TransferProgress(NamedTuple):
    """One step of a pull or push. `layer` is "" for the whole image; sizes are in bytes, 0 for unknown."""

    layer: str
    status: str
    current: int = 0
    total: int = 0


_NAMES = ("RepoTags", "RepoDigests")
_PARENTS = ("ParentId", "Parent")
"""In a list of images, and of one image."""
_PUSHED = r"\bdigest: (sha256:[0-9a-f]{64})"
"""What the last step of a push says, and Podman says nowhere else."""


def split(reference: str) -> tuple[str, str]:
    """The name and the tag or digest of a reference: `a:5000/b` -> (`a:5000/b`, `latest`)."""
    name, at, digest = reference.partition("@")
    folder, colon, last = name.rpartition(":")
    if colon and "/" not in last:
        name, label = folder, last
    else:
        label = "latest"
    return name, digest if at else label


def inspect(engine: Engine, image: str) -> dict[str, Any] | None:
    """The engine's description of an image (reference or id), or None if it does not exist."""
    plain = engine.look(f"/images/{image_name(image)}/json")
    if isinstance(plain, dict) or plain == probe.ABSENT:
        return _with_short_names(plain) if isinstance(plain, dict) else None
    try:
        with engine.asked() as api:
            return _with_short_names(api.inspect_image(image_name(image)))
    except EngineAnswerError as error:
        if error.status == 404:
            return None
        raise


def find(engine: Engine, labels: Mapping[str, str], *, hidden: bool = False) -> list[dict[str, Any]]:
    """The images with all these labels; "" stands for any value.

    With `hidden`, also those without a name that other images are built on.
    """
    wanted = [f"{name}={value}" if value else name for name, value in labels.items()]
    with engine.asked() as api:
        return [_with_short_names(found) for found in api.images(all=hidden, filters={"label": wanted})]


def _with_short_names(found: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's answer about an image in Docker's form: Podman has full names, and bare ids of parents."""
    told = {**found, **{key: [short(name) for name in found.get(key) or ()] for key in _NAMES}}
    told |= {key: _identity(str(found[key])) for key in _PARENTS if found.get(key)}
    return told


def _identity(text: str) -> str:
    return f"sha256:{text.removeprefix('sha256:')}"


def history(engine: Engine, image: str) -> list[dict[str, Any]]:
    """The steps of an image's build, newest first; each has its `Size` in bytes."""
    with engine.asked() as api:
        return list(api.history(image_name(image)))


def tag(engine: Engine, image: str, reference: str) -> None:
    """Add a reference to an image; another image with that reference loses it."""
    name, label = split(reference)
    with engine.asked() as api:
        api.tag(image_name(image), name, label)


def remove(engine: Engine, image: str, *, force: bool = False) -> bool:
    """Remove a reference, and with the last one the image; False if it does not exist.

    Raises:
        EngineAnswerError: status 409 if a container uses it.
    """
    try:
        with engine.asked() as api:
            api.remove_image(image_name(image), force=force)
    except EngineAnswerError as error:
        if error.status == 404:
            return False
        raise
    return True


def pull(
    engine: Engine,
    reference: str,
    *,
    platform: str = "",
    progress: Callable[[TransferProgress], None] | None = None,
) -> None:
    """Pull an image from its registry, with the login in Docker's settings.

    Raises:
        EngineAnswerError: no such image, no permission, or the registry does not answer.
        TargetError: Docker's settings can't be read, or their credential helper fails.
    """
    name, label = split(reference)
    login = login_of(registry_of(reference))
    with engine.asked(patient=True) as api:
        messages = api.pull(
            name, label, stream=True, decode=True, auth_config=login, platform=platform or None
        )
        _follow(engine, messages, progress)


def push(
    engine: Engine,
    reference: str,
    *,
    progress: Callable[[TransferProgress], None] | None = None,
) -> str:
    """Push an image to the registry in its reference; returns its digest there, `sha256:…`.

    Raises:
        EngineAnswerError: no permission, or the registry does not answer.
        TargetError: Docker's settings can't be read, or their credential helper fails.
    """
    name, label = split(reference)
    login = login_of(registry_of(reference))
    digests: list[str] = []

    def step(one: TransferProgress) -> None:
        digests.extend(re.findall(_PUSHED, one.status))
        if progress is not None:
            progress(one)

    with engine.asked(patient=True) as api:
        messages = api.push(image_name(name), label, stream=True, decode=True, auth_config=login)
        results = _follow(engine, messages, step)
    digests += [str(message["aux"]["Digest"]) for message in results if message["aux"].get("Digest")]
    if not digests:
        raise EngineLostError(
            "the connection to the Docker engine ended before the push was complete", where=engine.address
        )
    return digests[-1]


def commit(
    engine: Engine,
    container: str,
    reference: str,
    *,
    changes: Iterable[str] = (),
    message: str = "",
) -> str:
    """Create an image from a container; returns its id. `changes` are Dockerfile lines, such as `ENV A=b`.

    With "" as the reference, the image has none.
    """
    name, label = split(reference) if reference else (None, None)
    with engine.asked(patient=True) as api:
        made = api.commit(container, name, label, message=message, changes=list(changes) or None, conf={})
    # Podman leaves the kind of digest out, and then does not always find the image.
    return _identity(str(made["Id"]))


def import_root(
    engine: Engine,
    archive: bytes | IO[bytes] | Iterable[bytes],
    reference: str,
    *,
    changes: Iterable[str] = (),
) -> str:
    """Create a one-layer image from a root file system in a tar archive; returns its id. See `commit`."""
    name, label = split(reference)
    with engine.asked(patient=True) as api:
        output = api.import_image_from_data(
            archive, repository=name, tag=label, changes=list(changes) or None
        )
    identity = str(json.loads(output.splitlines()[-1]).get("status", "")) if output.strip() else ""
    if not identity.startswith("sha256:"):
        raise EngineLostError(
            "the connection to the Docker engine ended before the import was complete", where=engine.address
        )
    return identity


def _follow(
    engine: Engine, messages: Iterable[dict[str, Any]], progress: Callable[[TransferProgress], None] | None
) -> list[dict[str, Any]]:
    """Read all messages, pass each to `progress`, and return those with a result (`aux`).

    Raises:
        EngineAnswerError: one of them is an error.
    """
    results = []
    for message in messages:
        if reason := message.get("error") or (message.get("errorDetail") or {}).get("message"):
            raise EngineAnswerError(str(reason), status=200, where=engine.address)
        if "aux" in message:
            results.append(message)
        elif progress is not None and message.get("status"):
            detail = message.get("progressDetail") or {}
            progress(
                TransferProgress(
                    str(message.get("id", "")),
                    str(message["status"]),
                    int(detail.get("current") or 0),
                    int(detail.get("total") or 0),
                )
            )
    return results
