"""The operations of a service that runs containers; `service_target.py` makes a compute target of it."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.targets.target import Launch, State
    from amlexec.values import ComputeTarget

__all__ = ["BLOCK", "ServiceView", "PlaceT", "ContainerService", "Storage", "Words"]

BLOCK = 4 << 20
"""The most bytes that a storage returns at once."""


class Words(NamedTuple):
    """The words of messages about a service."""

    gone: str
    """Why a run is lost whose container the service no longer has."""
    never: str
    """The same, if it has not been seen to begin."""
    stopped: str
    """Why a run has ended whose container the service has stopped."""
    where: str
    """Where copies were removed, for `clean`."""
    not_shared: str
    """The warning if a target names a shared directory."""


class ServiceView(NamedTuple):
    """A run's container, as the service itself shows it."""

    phase: str
    """`starting`, `running`, `ended`, or `failed`: it has not begun, and won't."""
    why: str = ""
    warning: str = ""
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None


class Storage(Protocol):
    """The files of one run in a service. All methods raise UnreachableError and TargetError."""

    @property
    def address(self) -> str:
        """Where it is, for messages."""

    def create(self, metadata: dict[str, str], name: str, source: IO[bytes]) -> None:
        """Make it, with one file. Idempotent."""

    def metadata(self) -> dict[str, str] | None:
        """What it was created with; None if it does not exist."""

    def delete(self, metadata: dict[str, str] | None = None) -> bool:
        """Delete it with everything in it; False if it does not exist. Idempotent.

        Raises:
            PermissionError: it was created without that metadata, and is left alone.
        """

    def put(self, name: str, source: bytes | IO[bytes]) -> None:
        """Write a file."""

    def read(self, name: str, start: int) -> bytes:
        """The next bytes of a file: BLOCK, or what there is; none if it does not exist, or has no more."""

    def read_several(self, wanted: Sequence[tuple[str, int]]) -> list[bytes]:
        """The same of several files, from the given positions."""


class _Place(Protocol):
    """Where a run is: made of texts, which are kept in the run's folder."""

    @property
    def owner(self) -> str:
        """`amlexec.owner` of the project that submitted the run."""


PlaceT = TypeVar("PlaceT", bound=_Place)


class ContainerService(Protocol[PlaceT]):
    """A service that runs containers. Methods raise UnreachableError, and TargetError for a refusal."""

    words: Words
    pause_s: float
    """Between two looks at a run whose output comes."""

    def log_in(self, target: ComputeTarget) -> None:
        """Check that there is a login: fast, and before anything is recorded."""

    def place(self, target: ComputeTarget, run_id: str, owner: str, image: str) -> PlaceT:
        """Where a run is going to be. No I/O. Raises ConfigurationError."""

    def user(self, target: ComputeTarget) -> tuple[str, str]:
        """The name of scripts' user in a container, and its home folder."""

    def kept(self, place: PlaceT) -> dict[str, str]:
        """A place as texts."""

    def place_of(self, kept: dict[str, str]) -> PlaceT:
        """The place that such texts say.

        Raises:
            KeyError, ValueError, ConfigurationError: amlexec can't have written them.
        """

    def storage(self, place: PlaceT) -> Storage:
        """The files of a run. No I/O."""

    def create(self, place: PlaceT, target: ComputeTarget, launch: Launch, run_id: str, image: str) -> None:
        """Create the run's container.

        Raises:
            UnreachableError: it may have been created.
        """

    def reported(self, place: PlaceT) -> State | None:
        """What the run itself reports: that it is running, or has ended; None if it has not begun."""

    def look(self, place: PlaceT, age: float) -> ServiceView | None:
        """The run's container, `age` seconds after it was asked for; None if there is none.

        Raises:
            TargetError: what has its name is not this run's, so it must not be touched.
        """

    def printed(self, place: PlaceT, lines: int) -> str:
        """The last lines that the container printed; "" if the service does not have them."""

    def delete(self, place: PlaceT, timeout: float) -> tuple[str, str] | None:
        """Delete what the service has of the run but its files; None once it is gone.

        If it is not within `timeout` seconds, a warning and its hint.
        """
