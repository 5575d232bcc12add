"""Images of a Docker engine: looked up, tagged, moved to and from registries and archives, removed.

Errors are those of `amlexec.docker.engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker.engine import EngineAnswerError, EngineError, EngineLostError
from amlexec.docker.settings import registry_header, registry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from amlexec.docker.engine import Body, Engine, Stream

__all__ = [
    "Progress",
    "commit",
    "find",
    "import_root",
    "inspect",
    "load",
    "pull",
    "push",
    "remove",
    "save",
    "split",
    "tag",
]

_SILENCE = 600.0
"""Seconds. A registry behind a slow line says nothing for minutes while one layer is pushed."""


class Progress(NamedTuple):
    """One step of a pull or push. `layer` is "" where it is about everything; sizes in bytes, 0 unknown."""

    layer: str
    status: str
    current: int = 0
    total: int = 0


def split(reference: str) -> tuple[str, str]:
    """The name, and the tag or digest, of a reference: `a:5000/b` -> (`a:5000/b`, `latest`)."""
    name, at, digest = reference.partition("@")
    folder, colon, last = name.rpartition(":")
    if colon and "/" not in last:
        name, label = folder, last
    else:
        label = "latest"
    return name, digest if at else label


def inspect(engine: Engine, image: str) -> dict[str, Any] | None:
    """What the engine knows of an image (reference or id), or None where it has none."""
    try:
        return dict(engine.glance(f"/images/{image}/json"))
    except EngineAnswerError as error:
        if error.status == 404:
            return None
        raise


def find(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The images that carry all these labels; "" as a value stands for any value."""
    wanted = [f"{name}={value}" if value else name for name, value in labels.items()]
    return list(engine.glance("/images/json", query={"filters": {"label": wanted}}))


def tag(engine: Engine, image: str, reference: str) -> None:
    """Give an image one more reference, taking it from the image that had it."""
    name, label = split(reference)
    engine.request("POST", f"/images/{image}/tag", query={"repo": name, "tag": label})


def remove(engine: Engine, image: str, *, force: bool = False) -> bool:
    """Remove a reference, and the image with its last one; False where it is gone.

    Raises:
        EngineAnswerError: status 409 where a container was made of it.
    """
    try:
        engine.request("DELETE", f"/images/{image}", query={"force": force})
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
    progress: Callable[[Progress], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Fetch an image from its registry, as the user whom Docker's settings name there.

    Raises:
        EngineAnswerError: no such image, no permission, or the registry does not answer: the engine's words.
    """
    name, label = split(reference)
    query = {"fromImage": name, "tag": label, "platform": platform or None}
    headers = {"X-Registry-Auth": registry_header(registry_of(reference), environment)}
    _follow(
        engine.messages("POST", "/images/create", query=query, headers=headers, timeout=_SILENCE), progress
    )


def push(
    engine: Engine,
    reference: str,
    *,
    progress: Callable[[Progress], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Send an image to the registry that its reference names; its digest there, `sha256:…`.

    Raises:
        EngineAnswerError: no permission, or the registry does not answer: the engine's words.
    """
    name, label = split(reference)
    headers = {"X-Registry-Auth": registry_header(registry_of(reference), environment)}
    messages = engine.messages(
        "POST", f"/images/{name}/push", query={"tag": label}, headers=headers, timeout=_SILENCE
    )
    told = [message["aux"] for message in _follow(messages, progress) if "aux" in message]
    digests = [str(aux["Digest"]) for aux in told if aux.get("Digest")]
    if not digests:
        raise EngineLostError("the Docker engine ended before the push was done", where=engine.address)
    return digests[-1]


def commit(
    engine: Engine,
    container: str,
    reference: str,
    *,
    changes: Iterable[str] = (),
    message: str = "",
) -> str:
    """Make an image of a container as it is; its id. `changes` are Dockerfile lines, such as `ENV A=b`.

    With "" for a reference, the image has none.
    """
    name, label = split(reference) if reference else ("", "")
    query = {
        "container": container,
        "repo": name or None,
        "tag": label or None,
        "comment": message,
        "changes": "\n".join(changes) or None,
    }
    return str(engine.request("POST", "/commit", query=query, body={}, timeout=None)["Id"])


def import_root(engine: Engine, archive: Body, reference: str, *, changes: Iterable[str] = ()) -> str:
    """Make a one-layer image of a root file system in a tar archive; its id. `changes` as in `commit`."""
    name, label = split(reference)
    query = {"fromSrc": "-", "repo": name, "tag": label, "changes": "\n".join(changes) or None}
    headers = {"Content-Type": "application/x-tar"}
    messages = list(engine.messages("POST", "/images/create", query=query, body=archive, headers=headers))
    identity = str(messages[-1].get("status", "")) if messages else ""
    if not identity.startswith("sha256:"):
        raise EngineLostError("the Docker engine ended before the import was done", where=engine.address)
    return identity


def load(engine: Engine, archive: Body) -> list[str]:
    """Take in images that `save` has written; their references, or ids where they have none."""
    headers = {"Content-Type": "application/x-tar"}
    messages = engine.messages("POST", "/images/load", query={"quiet": True}, body=archive, headers=headers)
    said = "".join(str(message.get("stream", "")) for message in messages)
    loaded = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("Loaded image")]
    if not loaded:
        raise EngineError("the archive holds no image", where=engine.address)
    return loaded


def save(engine: Engine, image: str) -> Stream:
    """An image with its layers and references as a tar archive."""
    return engine.stream("GET", f"/images/{image}/get", timeout=None)


def _follow(
    messages: Iterable[dict[str, Any]], progress: Callable[[Progress], None] | None
) -> list[dict[str, Any]]:
    """Read all messages to the end, telling `progress` each; those with a result (`aux`)."""
    results = []
    for message in messages:
        if "aux" in message:
            results.append(message)
        elif progress is not None and message.get("status"):
            detail = message.get("progressDetail") or {}
            progress(
                Progress(
                    str(message.get("id", "")),
                    str(message["status"]),
                    int(detail.get("current") or 0),
                    int(detail.get("total") or 0),
                )
            )
    return results
