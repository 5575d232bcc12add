"""The base image of an environment: on the engine, for the right platform, and known by its digest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.login import registry_of
from amlexec.errors import TargetError
from amlexec.images.labels import DEFAULT
from amlexec.images.transfer_bar import transfer_bar
from amlexec.model import spelled
from amlexec.packages.platforms import engine_misfit

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.model import Place
    from amlexec.packages.platforms import Platform
    from amlexec.progress import Progress

__all__ = ["Base", "ensure", "moved", "must_be_for", "must_keep"]

_DEAD = ("microsoft/", "azureml/")
"""Images of the time, which no registry has any more."""


_UNREACHED = re.compile(
    r"dial tcp|no such host|lookup |connection refused|connection reset|no route to host|unreachable"
    r"|time.?out|deadline exceeded|proxyconnect|server misbehaving|name resolution|x509|certificate|tls:"
    r"|TLS handshake|: EOF|HTTP response to HTTPS|\b50[234]\b",
    re.IGNORECASE,
)
"""What engines say of a registry that gives no answer, or none that they trust."""


class Base(NamedTuple):
    """A base image that the engine has."""

    image_id: str
    pinned: str
    """Its reference by digest where a registry gave it one, else its id."""
    path: str
    """Its PATH."""
    system: str
    architecture: str
    volumes: tuple[str, ...] = ()
    """Folders of which nothing becomes part of an image that is made of it."""


def ensure(
    engine: Engine, reference: str, place: Place, progress: Progress, *, refresh: bool = False
) -> Base:
    """The base image, pulled where the engine does not have it, or, with `refresh`, has an older one.

    Raises:
        TargetError: it can't be had, or it isn't for Linux.
    """
    if (system := engine.version().get("Os")) != "linux":
        raise TargetError(
            f"the Docker engine runs containers for {system}, and environments are made for Linux",
            where=engine.address,
            hint="switch it to Linux containers, or name another engine with DOCKER_HOST",
        )
    found = None if refresh else images.inspect(engine, reference)
    if found is None:
        _pull(engine, reference, place, progress)
        found = images.inspect(engine, reference)
    if found is None:
        raise TargetError(f"the engine has pulled {reference}, and does not have it", where=engine.address)
    if found.get("Os") != "linux":
        raise TargetError(
            f"the base image {reference} is for {found.get('Os')}, and environments are made for Linux",
            where=str(place),
            hint=f"set {_key(place)} to an image for Linux, such as {DEFAULT}",
        )
    variables = dict(line.partition("=")[::2] for line in (found.get("Config") or {}).get("Env") or [])
    return Base(
        found["Id"],
        (found.get("RepoDigests") or [found["Id"]])[0],
        variables.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        str(found["Os"]),
        str(found["Architecture"]),
        tuple((found.get("Config") or {}).get("Volumes") or ()),
    )


def must_fit(engine: Engine, platform: Platform) -> None:
    """Raise where the machine of an engine has another processor than an environment is for (TargetError)."""
    told = engine.version()
    why, cure = engine_misfit(str(told.get("Os", "")), str(told.get("Arch", "")), platform)
    if why:
        raise TargetError(why, where=engine.address, hint=cure)


def must_be_for(found: Base, platform: Platform, reference: str, place: Place) -> None:
    """Raise where a base image is for another processor than the environment (TargetError)."""
    from amlexec.packages.platforms import of_image

    there = of_image(found.system, found.architecture)
    if there.subdir != platform.subdir:
        raise TargetError(
            f"the base image {reference} is for {there.machine}, and the environment for {platform.machine}",
            where=str(place),
            hint=f"set {_key(place)} to an image for {platform.machine}, or pull the one for "
            f"it: docker pull --platform {found.system}/{platform.machine} {reference}",
        )


def must_keep(found: Base, prefix: str, reference: str, place: Place) -> None:
    """Raise where what is written into the folder `prefix` would not stay in an image (TargetError)."""
    for volume in found.volumes:
        at = f"{volume.rstrip('/')}/"
        if f"{prefix}/".startswith(at) or at.startswith(f"{prefix}/"):
            raise TargetError(
                f"the base image {reference} declares the volume {volume}: nothing that is written there "
                f"stays in an image, and environments are in {prefix}",
                where=str(place),
                hint=f"set {_key(place)} to an image without that VOLUME, such as {DEFAULT}",
            )


def _key(place: Place) -> str:
    """The key of the base image, as the file at `place` spells it."""
    return spelled("baseDockerImage", place)


def _pull(engine: Engine, reference: str, place: Place, progress: Progress) -> None:
    progress.step(f"pulling {reference}")
    try:
        images.pull(engine, reference, progress=transfer_bar(progress))
    except EngineAnswerError as error:
        raise TargetError(
            f"the base image {reference} can't be pulled: {error.reason}",
            where=str(place),
            hint=_what_to_do(reference, error.reason, engine.address, _key(place)),
        ) from error


def _what_to_do(reference: str, why: str, engine: str, key: str) -> str:
    """A hint for an image that can't be pulled, from the engine's words; `key` is the image's."""
    registry = registry_of(reference)
    other = f", such as {DEFAULT}" if reference != DEFAULT else ""
    if re.search(r"toomanyrequests|rate limit|\b429\b", why, re.IGNORECASE):
        return f"docker login {registry}: it lets those through who say who they are; or pull it later"
    if _UNREACHED.search(why):
        return (
            f"the engine ({engine}) can't reach {registry}: check its network and its proxy (`docker info` "
            f"shows it), or set {key} to an image that it has (`docker images`)"
        )
    if reference.startswith(_DEAD):
        return f"images of the time are gone: set {key} to a maintained one, such as {DEFAULT}"
    if re.search(r"unauthorized|authentication required|no basic auth", why, re.IGNORECASE):
        return f"docker login {registry}, or set {key} to an image that can be pulled{other}"
    return f"set {key} to an image that can be pulled{other}, or docker login {registry}"


def moved(engine: Engine, reference: str, place: Place, known: str, progress: Progress) -> str:
    """Whether a base image's tag means another image by now, in one sentence; "" where it doesn't.

    `known` is its `Base.pinned` when it was last built on. What a registry gave is asked for there again; an
    image that was made on the engine, and one that is named by its digest, are as they are.

    Raises:
        TargetError: its registry can't be asked.
    """
    if "@" in reference:
        return ""
    found = images.inspect(engine, reference)
    if found is None or found.get("RepoDigests"):
        ensure(engine, reference, place, progress, refresh=True)
        found = images.inspect(engine, reference)
    if found is None or known in {found["Id"], *(found.get("RepoDigests") or ())}:
        return ""
    return f"the base image {reference} has moved"
