"""Where the environments of a compute target are kept: what can be asked of such a place, and done there.

An engine keeps images, a machine that is reached over SSH keeps folders. What is written once for both
(`amlexec.prepare.prepare`, `amlexec.prepare.project`) knows no more of them than this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest, BuildResult
    from amlexec.progress import Progress

__all__ = ["Installed", "Removal", "EnvironmentStore"]


class Installed(NamedTuple):
    """An environment that is there, whole."""

    key: str
    """What identifies what was made: an image's id, a folder's path."""
    digest: str
    python: str
    """Version."""
    platform: str
    base: str = ""
    """Reference of the base image by digest, or by id where it has none."""
    project: str = ""
    """Name of the project that it was first made for."""
    owner: str = ""
    """See `amlexec.owner`; "" where nobody wrote it down."""


class Removal(NamedTuple):
    """What became of an environment, or a part of one, that was to be removed."""

    reference: str
    size: int
    """Bytes that it alone took, which are free now."""
    kept: str = ""
    """Why it is still there; "" where it isn't."""


class EnvironmentStore(Protocol):
    """The environments of one target, each asked for once; `forget` after a change."""

    @property
    def address(self) -> str:
        """What tells it from every other: for locks and messages."""

    def there(self, digest: str) -> str:
        """That an environment is there, in a few words: `the engine has amlexec:0123`. Asks nobody."""

    def gone(self) -> str:
        """That one which was there is there no more. Asks nobody."""

    def get(self, digest: str) -> Installed | None:
        """The environment with that digest, if it is there.

        Raises:
            TargetError: that can't be asked now.
        """

    def all(self) -> dict[str, Installed]:
        """Every environment, by digest. Raises as `get`."""

    def forget(self) -> None:
        """Ask again next time."""

    def turn(self, digest: str, progress: Progress) -> AbstractContextManager[None]:
        """Be the only one who makes this environment; others wait, and are told for whom.

        Raises:
            TargetError: somebody else has been at it for an hour.
        """

    def moved(self, kept: Installed, request: BuildRequest, progress: Progress) -> str:
        """Why an environment that is there would come out otherwise today, in a sentence; "" for no reason.

        Raises:
            TargetError: who would know can't be asked.
        """

    def pull(
        self, request: BuildRequest, place: str, progress: Progress, log: BuildLog
    ) -> BuildResult | None:
        """Take it from where somebody has published it; None where nobody has. The turn is the caller's.

        Raises:
            TargetError: what was published is not what it says.
        """

    def build(self, request: BuildRequest, progress: Progress, log: BuildLog) -> BuildResult:
        """Make it; it is there at once and whole, or not at all. The turn is the caller's.

        Raises:
            ConfigurationError: the dependencies can't be fulfilled.
            TargetError: it can't be made.
        """

    def replaced(self, key: str) -> None:
        """Remove what had this key, and has been made anew, unless somebody uses it."""

    def sweep(self, project: str, owner: str) -> list[Removal]:
        """Remove what was made for a project, and is no environment and part of none. Raises TargetError."""

    def remove(self, digests: Iterable[str], project: str, *, dry_run: bool = False) -> list[Removal]:
        """Remove environments that were made for the project of that name. With `dry_run`, only tell.

        Raises:
            TargetError: that can't be asked now.
        """
