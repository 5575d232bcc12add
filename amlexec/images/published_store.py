"""The store of environments of a cloud service: images in a registry, built by the engine on this machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.login import login_of, registry_of
from amlexec.errors import TargetError
from amlexec.images import registry
from amlexec.images.store import ImageStore

if TYPE_CHECKING:
    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest, BuildResult
    from amlexec.environments.store import Installed
    from amlexec.progress import Progress

__all__ = ["PublishedStore", "published_digest"]

_ABSENT = re.compile(r"not found|manifest unknown|name unknown|name_unknown|does not exist", re.IGNORECASE)
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


class PublishedStore(ImageStore):
    """Environments of an engine that are in the repository `where` too: only there the service finds them."""

    def __init__(self, engine: Engine, where: str, *, takes_any_size: bool = False) -> None:
        """No I/O."""
        super().__init__(engine)
        self._where = where
        self._takes_any_size = takes_any_size
        self._published: dict[str, str] = {}

    @property
    def address(self) -> str:
        """See `EnvironmentStore.address`."""
        return self._where

    def exists_message(self, digest: str) -> str:
        """See `EnvironmentStore.exists_message`."""
        return f"the registry has {registry.published(self._where, digest)}"

    def missing_message(self) -> str:
        """See `EnvironmentStore.missing_message`."""
        return f"its image is not in {self._where}, or no longer on this machine's engine"

    def get(self, digest: str) -> Installed | None:
        """See `EnvironmentStore.get`: one request to the engine, and one to the registry."""
        kept = super().get(digest)
        if kept is None or not self.published(digest):
            return None
        return kept

    def published(self, digest: str) -> str:
        """The sha256 of an environment's image in the registry; "" if it is not there. Raises TargetError."""
        if digest not in self._published:
            found = published_digest(self.engine, registry.published(self._where, digest))
            if not found:
                return ""
            self._published[digest] = found
        return self._published[digest]

    def forget(self) -> None:
        """See `EnvironmentStore.forget`."""
        super().forget()
        self._published = {}

    def pull(
        self, request: BuildRequest, place: str, progress: Progress, log: BuildLog
    ) -> BuildResult | None:
        """See `EnvironmentStore.pull`. From another registry, it is then pushed to this one."""
        found = super().pull(request, place, progress, log)
        if found is not None and place != self._where:
            self._push(request, progress)
        return found

    def build(self, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
        """See `EnvironmentStore.build`: pulled if it is published, else built; then pushed."""
        found = None
        if not request.from_scratch and published_digest(
            self.engine, registry.published(self._where, request.digest)
        ):
            found = registry.pull(self.engine, request, self._where, progress, log)
        if found is None:
            found = super().build(request, progress, log)
            self._push(request, progress)
        return found

    def _push(self, request: BuildRequest, progress: Progress) -> None:
        super().forget()
        if not self._takes_any_size:
            warn_if_large(self.engine, request.digest, progress)
        registry.push(self.engine, request.digest, self._where, progress)


_MOST_GB = 15


def warn_if_large(engine: Engine, digest: str, progress: Progress) -> None:
    """Say that an image is larger than what the service takes, before hours of sending it."""
    from amlexec.docker import images
    from amlexec.images.labels import reference

    size = int((images.inspect(engine, reference(digest)) or {}).get("Size") or 0) / 1e9
    if size > _MOST_GB:
        progress.step(
            f"warning: the image has {size:.0f} GB; Azure Container Instances takes {_MOST_GB} GB at most"
        )


def published_digest(engine: Engine, name: str) -> str:
    """The sha256 of an image in its registry, which the engine asks; "" if it is not there.

    Raises:
        TargetError: the registry refuses the login, or can't be reached.
    """
    login = login_of(registry_of(name))
    try:
        with engine.asked() as api:
            found = api.inspect_distribution(name, auth_config=login or None)
    except EngineAnswerError as error:
        if error.status == 404 or _ABSENT.search(error.reason):
            return ""
        host = registry_of(name)
        raise TargetError(
            f"the registry can't be asked for the environment: {error.reason}",
            where=name,
            hint=f"`docker login {host}` if it needs a login",
        ) from error
    digest = str((found.get("Descriptor") or {}).get("digest") or "")
    return digest if _SHA256.fullmatch(digest) else ""
