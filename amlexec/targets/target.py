"""The verbs of a compute target, and the values they give back."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.environments.store import EnvironmentStore
    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Interpreter
    from amlexec.locks import Held
    from amlexec.model import NotCollected, Plan
    from amlexec.prepare.prepare import Readiness

__all__ = ["GRACE_TIMEOUT_S", "Launch", "State", "Target"]

GRACE_TIMEOUT_S = 10
"""Between TERM and KILL when a run is canceled."""


class Launch(NamedTuple):
    """How a target will execute a plan: known before anything starts, and recorded."""

    argv: tuple[str, ...]
    python: Interpreter
    platform: str
    environment: dict[str, str]
    """The complete environment of the script; in a container, what is added to the image's."""
    digest: str = ""
    """Of the environment that amlexec prepared; "" where the user manages it."""
    image_id: str = ""
    """Of the image, where there is one."""
    warnings: tuple[str, ...] = ()
    """Sentences to print before the run."""
    executors: str = ""
    """What `inside.expected` says of the Python of Spark's executors; "" without Spark."""
    is_as_declared: bool = False
    """Whether the files name the driver's Python themselves, and not the environment."""
    settings: tuple[tuple[str, str], ...] = ()
    """Names and values that are in `argv`: those that look secret are not recorded."""


class State(NamedTuple):
    """What was read of a run on its target. Times in seconds since 1970."""

    phase: str
    """`new`, `starting`, `running`, `ended`, or `lost`: it is over, and no end was written."""
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    canceled: bool = False
    """Whether a cancel was asked for before it ended."""
    why: str = ""
    """What the target knows of the cause, beyond an exit code."""
    now: float | None = None
    """What the clock there said when a running run was looked at; None where it was not told."""


class Target(Protocol):
    """The verbs of a compute target. Everything above them is written once for all targets."""

    def store(self, plan: Plan) -> EnvironmentStore | None:
        """Where the plan's environment is kept; None where its user manages it. Nothing is asked yet."""

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """Find out how the plan will be executed, and whether it can be. Prepares nothing.

        `environment` is what `store` has for the plan; None where that is None.

        Raises:
            ConfigurationError: what the files declare isn't there.
            TargetError: the target can't be used now.
        """

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> None:
        """Make the snapshot `tree` ready to run where the target needs it.

        Raises:
            UsageError: the script is not part of it.
            TargetError: it can't be written there.
        """

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, held: Held) -> IO[bytes] | None:
        """Start the run in its checkout; what is returned can be read when it has ended.

        `held` is the run's lock: until whoever reads the state can see that the run was started, it has to
        be held, be it by us or by what was started.
        """

    def state(self, paths: RunPaths) -> State:
        """Read how the run is.

        Raises:
            TargetError: it could not be read; that is no state of the run.
        """

    def follow(
        self,
        paths: RunPaths,
        bell: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """Hand on what the run prints, from its beginning and as it comes, until it has ended."""

    def stop(self, paths: RunPaths, grace: int) -> State:
        """Ask the run to end, and end it after `grace` seconds."""

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """Bring the logs, the metrics and `outputs/` of a run that has ended home. Idempotent.

        What of the outputs did not come is returned: one bad file keeps neither the others nor the run's end.
        """

    def release(self, paths: RunPaths) -> None:
        """Let go of what holds the run on its target: its end is recorded. Twice is harmless."""

    def clean(self, paths: RunPaths) -> list[str]:
        """Remove the run's copies of the project, here and on its target. Idempotent.

        Returns where there was one: `here`, `on NAME`.
        """
