"""The base image of an environment: pulled, checked for its platform, and pinned by digest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import images
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.login import registry_of
from amlexec.docker.reference import short
from amlexec.errors import TargetError
from amlexec.images.labels import DEFAULT
from amlexec.images.transfer_bar import transfer_bar
from amlexec.packages.platforms import engine_misfit
from amlexec.values import spelled

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.packages.platforms import Platform
    from amlexec.progress import Progress
    from amlexec.values import Place

__all__ = ["Base", "ensure", "moved", "must_be_for", "must_keep"]

_DEAD = ("microsoft/", "azureml/")
"""Images from the Workbench years. No registry has them any more."""

_UNREACHED = re.compile(
    r"dial tcp|no such host|lookup |connection refused|connection reset|no route to host|unreachable"
    r"|time.?out|deadline exceeded|proxyconnect|server misbehaving|name resolution|x509|certificate|tls:"
    r"|TLS handshake|: EOF|HTTP response to HTTPS|\b50[234]\b",
    re.IGNORECASE,
)
"""An engine's errors about a registry that is unreachable or not trusted."""


class Base(NamedTuple):
    """A base image on the engine."""

    image_id: str
    pinned: str
    """Reference by digest if it came from a registry, else the id."""
    path: str
    """Its PATH."""
    system: str
    architecture: str
    volumes: tuple[str, ...] = ()
    """Declared volumes: an image built on it keeps nothing that is written to these folders."""


def ensure(
    engine: Engine, reference: str, place: Place, progress: Progress, *, refresh: bool = False
) -> Base:
    """The base image; pulled if the engine lacks it, or, with `refresh`, has an older one.

    Raises:
        TargetError: it can't be pulled, or it isn't for Linux.
    """
    if (system := engine.platform[0]) != "linux":
        raise TargetError(
            f"the Docker engine runs containers for {system}; environments need Linux",
            where=engine.address,
            hint="switch it to Linux containers, or name another engine with DOCKER_HOST",
        )
    found = None if refresh else images.inspect(engine, reference)
    if found is None:
        _pull(engine, reference, place, progress)
        found = images.inspect(engine, reference)
    if found is None:
        raise TargetError(f"the engine pulled {reference} but does not have it", where=engine.address)
    if found.get("Os") != "linux":
        raise TargetError(
            f"the base image {reference} is for {found.get('Os')}; environments need Linux",
            where=str(place),
            hint=f"set {_key(place)} to an image for Linux, such as {DEFAULT}",
        )
    variables = dict(line.partition("=")[::2] for line in (found.get("Config") or {}).get("Env") or [])
    return Base(
        found["Id"],
        _pinned(found, reference),
        variables.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        str(found["Os"]),
        str(found["Architecture"]),
        tuple((found.get("Config") or {}).get("Volumes") or ()),
    )


def _pinned(found: dict[str, Any], reference: str) -> str:
    """An image's reference by digest, best under the name of `reference`; its id if it has none."""
    name = short(images.split(reference)[0])
    digests = found.get("RepoDigests") or [found["Id"]]
    return str(next((one for one in digests if one.partition("@")[0] == name), digests[0]))


def must_fit(engine: Engine, platform: Platform) -> None:
    """Raise TargetError if the engine's machine can't run environments for `platform`."""
    reason, hint = engine_misfit(*engine.platform, platform)
    if reason:
        raise TargetError(reason, where=engine.address, hint=hint)


def must_be_for(found: Base, platform: Platform, reference: str, place: Place) -> None:
    """Raise TargetError if a base image is for another processor than the environment."""
    from amlexec.packages.platforms import of_image

    actual = of_image(found.system, found.architecture)
    if actual.subdir != platform.subdir:
        raise TargetError(
            f"the base image {reference} is for {actual.machine}, but the environment is for "
            f"{platform.machine}",
            where=str(place),
            hint=f"set {_key(place)} to an image for {platform.machine}, or pull the image for that "
            f"processor: docker pull --platform {found.system}/{platform.machine} {reference}",
        )


def must_keep(found: Base, prefix: str, reference: str, place: Place) -> None:
    """Raise TargetError if a volume of the base image would discard what is written to `prefix`."""
    for volume in found.volumes:
        folder = f"{volume.rstrip('/')}/"
        if f"{prefix}/".startswith(folder) or folder.startswith(f"{prefix}/"):
            raise TargetError(
                f"the base image {reference} declares the volume {volume}: an image does not keep what is "
                f"written to a volume, and the environment is in {prefix}",
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
    """The hint for an image that can't be pulled: `why` is the engine's message, `key` names the image."""
    registry = registry_of(reference)
    other = f", such as {DEFAULT}" if reference != DEFAULT else ""
    if re.search(r"toomanyrequests|rate limit|\b429\b", why, re.IGNORECASE):
        return f"docker login {registry}: the limit is higher with a login; or pull it later"
    if _UNREACHED.search(why):
        return (
            f"the engine ({engine}) can't reach {registry}: check its network and its proxy (`docker info` "
            f"shows it), or set {key} to an image that it has (`docker images`)"
        )
    if reference.startswith(_DEAD):
        return f"images from the Workbench years no longer exist: set {key} to another, such as {DEFAULT}"
    if re.search(r"unauthorized|authentication required|no basic auth", why, re.IGNORECASE):
        return f"docker login {registry}, or set {key} to an image that can be pulled{other}"
    return f"set {key} to an image that can be pulled{other}, or docker login {registry}"


def moved(engine: Engine, reference: str, place: Place, known: str, progress: Progress) -> str:
    """The message that a base image's tag now names another image; "" if it does not.

    `known` is the `Base.pinned` of the last build. An image from a registry is pulled again; an image that
    was built on the engine, or is named by digest, never moves.

    Raises:
        TargetError: its registry can't be asked.
    """
    if "@" in reference:
        return ""
    found = images.inspect(engine, reference)
    if found is None or found.get("RepoDigests"):
        try:
            ensure(engine, reference, place, progress, refresh=True)
        except TargetError as error:
            if found is None or not engine.features.is_podman:
                raise
            # Podman gives every image a digest, also one that was built there and that no registry knows.
            progress.step(f"{error.message}; the one on the engine is used")
        found = images.inspect(engine, reference)
    if found is None or known in {found["Id"], *(found.get("RepoDigests") or ())}:
        return ""
    return f"the base image {reference} has moved"
