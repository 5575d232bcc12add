"""The store of environments on a Docker engine, as images."""

from __future__ import annotations

from amlexec.errors import NoContactError, TargetError
from amlexec.images.labels import reference
from amlexec.images.lookup import Images
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from amlexec.docker.client import Engine
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest, BuildResult
    from amlexec.environments.store import Installed, Removal
    from amlexec.progress import Progress
    from amlexec.values import Place

__all__ = ["ImageStore"]


class ImageStore:
    """An `EnvironmentStore`. Methods that build or remove import their modules, to keep lookups fast."""

    def __init__(self, engine: Engine) -> None:
        """No I/O."""
        self.engine = engine
        self._images = Images(engine)

    @property
    def address(self) -> str:
        """See `EnvironmentStore.address`."""
        return self.engine.address

    def exists_message(self, digest: str) -> str:
        """See `EnvironmentStore.exists_message`."""
        return f"the engine has {reference(digest)}"

    def missing_message(self) -> str:
        """See `EnvironmentStore.missing_message`."""
        return "its image is no longer on the engine"

    def get(self, digest: str) -> Installed | None:
        """See `EnvironmentStore.get`: one small request."""
        return self._images.get(digest)

    def all(self) -> dict[str, Installed]:
        """See `EnvironmentStore.all`: one request, after which `get` needs none."""
        return self._images.all()

    def forget(self) -> None:
        """See `EnvironmentStore.forget`."""
        self._images.forget()

    def locked(self, digest: str, progress: Progress) -> AbstractContextManager[None]:
        """See `EnvironmentStore.locked`."""
        from amlexec.images.build_lock import locked

        return locked(self.engine, digest, "has been building the same environment", progress)

    def lock_of(self, kept: Installed) -> str:
        """See `EnvironmentStore.lock_of`: a file of the image."""
        from amlexec.images.lock_file import lock_of

        return lock_of(self.engine, kept)

    def same_base(self, pinned: str, place: Place, progress: Progress) -> str:
        """See `EnvironmentStore.same_base`: on the engine, else pulled."""
        from amlexec.docker import images
        from amlexec.images import base_image

        if images.inspect(self.engine, pinned) is not None:
            return pinned
        try:
            # The engine gives no id but the one that it is asked for: nothing else can be pulled by it.
            base_image.ensure(self.engine, pinned, place, progress)
        except TargetError as error:
            if isinstance(error, NoContactError):
                raise
            return ""
        return pinned

    def moved(self, kept: Installed, request: BuildRequest, progress: Progress) -> str:
        """See `EnvironmentStore.moved`: the base image's tag may now name another image."""
        from amlexec.images import base_image

        return base_image.moved(self.engine, request.spec.base_image, request.base_place, kept.base, progress)

    def pull(
        self, request: BuildRequest, place: str, progress: Progress, log: BuildLog
    ) -> BuildResult | None:
        """See `EnvironmentStore.pull`; `place` is `REGISTRY/REPOSITORY`."""
        from amlexec.images import registry

        return registry.pull(self.engine, request, place, progress, log)

    def build(self, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
        """See `EnvironmentStore.build`."""
        from amlexec.images import build as building

        return building.build(self.engine, request, progress, log)

    def replaced(self, key: str) -> None:
        """See `EnvironmentStore.replaced`."""
        from amlexec.images import remove as removal

        removal.discard(self.engine, key)

    def sweep(self, project: str, owner: str) -> list[Removal]:
        """See `EnvironmentStore.sweep`: layers of failed builds, images of killed builds."""
        from amlexec.images import remove as removal

        return removal.sweep(self.engine, project, owner)

    def remove(self, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
        """See `EnvironmentStore.remove`. Also removes conda layers that no environment uses any more."""
        from amlexec.images import remove as removal

        self.forget()
        removals = removal.remove(self._images, digests, project, dry_run=dry_run)
        self.forget()
        return removals
