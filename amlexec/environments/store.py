"""The interface of a store of environments on a compute target.

A Docker engine stores images, a machine over SSH stores folders. The code for both
(`amlexec.prepare.prepare`, `amlexec.prepare.project`) uses only this interface.
"""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest, BuildResult
    from amlexec.progress import Progress
    from amlexec.values import Place

__all__ = ["Installed", "Removal", "EnvironmentStore"]


class Installed(NamedTuple):
    """A complete environment on a target."""

    key: str
    """An image's id, or a folder's path."""
    digest: str
    python: str
    """Version of its Python."""
    platform: str
    base: str = ""
    """Reference of the base image by digest, or by id if it has no digest."""
    project: str = ""
    """Name of the first project that built it."""
    owner: str = ""
    """See `amlexec.owner`; "" if unknown."""
    lock: str = ""
    """The name of its resolved lock, see `resolved_lock`; "" if it has none."""


class Removal(NamedTuple):
    """The result of removing an environment, or a part of one."""

    reference: str
    size: int
    """Freed bytes: those that no other environment shares."""
    kept: str = ""
    """Why it was not removed; "" if it was."""


class EnvironmentStore(Protocol):
    """The environments of one target. Answers are cached; call `forget` after a change."""

    @property
    def address(self) -> str:
        """The store's unique name, for locks and messages."""

    def exists_message(self, digest: str) -> str:
        """The message that an environment exists: `the engine has amlexec:0123`. No I/O."""

    def missing_message(self) -> str:
        """The message that an environment no longer exists. No I/O."""

    def get(self, digest: str) -> Installed | None:
        """The environment with that digest, if it exists.

        Raises:
            TargetError: the target can't be asked.
        """

    def all(self) -> dict[str, Installed]:
        """Every environment, by digest. Raises as `get` does."""

    def forget(self) -> None:
        """Drop cached answers."""

    def locked(self, digest: str, progress: Progress) -> AbstractContextManager[None]:
        """Lock this environment for a build; other processes wait, with a message that names the holder.

        Raises:
            TargetError: another process has held the lock for an hour.
        """

    def lock_of(self, kept: Installed) -> str:
        """The text of the resolved lock that an environment carries.

        Raises:
            TargetError: the target can't be asked, or the environment does not have it.
        """

    def same_base(self, pinned: str, place: Place, progress: Progress) -> str:
        """The base image with that digest or id, which is then on the target; "" if it is not available.

        Raises:
            TargetError: the target can't be asked.
        """

    def moved(self, kept: Installed, request: BuildRequest, progress: Progress) -> str:
        """Why a new build of an existing environment would differ, in a sentence; "" if it would not.

        Raises:
            TargetError: the registry can't be asked.
        """

    def pull(
        self, request: BuildRequest, place: str, progress: Progress, log: BuildLog
    ) -> BuildResult | None:
        """Pull a published environment; None if it is not published. The caller holds the lock.

        Raises:
            TargetError: the published environment is not what it claims to be.
        """

    def build(self, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
        """Build it, atomically. The caller holds the lock.

        Raises:
            ConfigurationError: the dependencies are unsolvable.
            TargetError: the build failed.
        """

    def replaced(self, key: str) -> None:
        """Remove the old environment with this key after a rebuild, unless it is in use."""

    def sweep(self, project: str, owner: str) -> list[Removal]:
        """Remove a project's leftovers: what belongs to no environment. Raises TargetError."""

    def remove(self, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
        """Remove environments that were built for the project of that name. With `dry_run`, only report.

        Raises:
            TargetError: the target can't be asked.
        """
