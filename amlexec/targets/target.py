"""The operations of a compute target, and their results."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import IO

    from amlexec.environments.store import EnvironmentStore
    from amlexec.history.paths import RunPaths
    from amlexec.locks import Held
    from amlexec.prepare.prepare import Readiness
    from amlexec.values import Interpreter, NotCollected, Plan

__all__ = ["GRACE_TIMEOUT_S", "Launch", "State", "Target"]

GRACE_TIMEOUT_S = 10
"""Seconds between TERM and KILL when a run is canceled."""


class Launch(NamedTuple):
    """How a target will execute a plan; determined before the start, and recorded."""

    argv: tuple[str, ...]
    python: Interpreter
    platform: str
    environment: dict[str, str]
    """The complete environment of the script; for a container, additions to the image's."""
    digest: str = ""
    """Of the environment that amlexec prepared; "" if the user manages it."""
    image_id: str = ""
    """Of the image; "" without a container."""
    warnings: tuple[str, ...] = ()
    """Printed before the run."""
    executors: str = ""
    """`python_used.expected` for the Python of Spark's executors; "" without Spark."""
    is_as_declared: bool = False
    """Whether the files declare the driver's Python, so that it is not the environment's."""
    settings: tuple[tuple[str, str], ...] = ()
    """Names and values in `argv`; values that look secret are not recorded."""
    is_followed: bool = False
    """Whether the caller follows the run as soon as it has started."""


class State(NamedTuple):
    """The state of a run on its target. Times are in seconds since 1970."""

    phase: str
    """`new`, `starting`, `running`, `ended`, `lost`: it has ended without a written end; or `failed`: its
    script has not begun, and won't."""
    began: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    canceled: bool = False
    """Whether it was canceled before it ended."""
    why: str = ""
    """The cause, if the target knows more than an exit code."""
    now: float | None = None
    """The machine's time when the state of a running run was read; None if unknown."""


class Target(Protocol):
    """The operations of a compute target. The layers above are the same for all targets."""

    def store(self, plan: Plan) -> EnvironmentStore | None:
        """Where the plan's environment is stored; None if the user manages it. No I/O."""

    def check(self, plan: Plan, environment: Readiness | None) -> Launch:
        """Determine how the plan will be executed, and whether it can be. Prepares nothing.

        `environment` is the plan's environment in `store`; None if there is no store.

        Raises:
            ConfigurationError: something that the files declare does not exist.
            TargetError: the target can't be used now.
        """

    def stage(self, paths: RunPaths, plan: Plan, tree: str) -> AbstractContextManager[None] | None:
        """Write the snapshot `tree` to where the target runs it.

        If a block is returned, it is written during that block, which may raise the same.

        Raises:
            UsageError: the snapshot does not contain the script.
            TargetError: it can't be written.
        """

    def start(self, paths: RunPaths, plan: Plan, launch: Launch, lock: Held) -> IO[bytes] | None:
        """Start the run in its checkout; the returned file becomes readable when it has ended.

        `lock` is the run's. It must be held, by the caller or the started process, until the state
        shows that the run was started.
        """

    def state(self, paths: RunPaths) -> State:
        """Read the state of the run.

        Raises:
            TargetError: it could not be read, so the state is unknown.
        """

    def follow(
        self,
        paths: RunPaths,
        end_pipe: IO[bytes] | None,
        stdout: Callable[[bytes], object],
        stderr: Callable[[bytes], object],
    ) -> State:
        """Pass on the run's output, from its beginning until it has ended."""

    def stop(self, paths: RunPaths, grace: int) -> State:
        """Ask the run to end, and kill it after `grace` seconds."""

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """Collect the logs, the metrics and `outputs/` of a run that has ended. Idempotent.

        Returns the outputs that were not collected. They affect neither the others nor the run's end.
        """

    def release(self, paths: RunPaths) -> None:
        """Release the target's resources of the run, after its end is recorded. Idempotent."""

    def clean(self, paths: RunPaths) -> list[str]:
        """Remove the run's copies of the project, here and on its target. Idempotent.

        Returns where copies were removed: `here`, `on NAME`.
        """
