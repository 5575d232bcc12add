"""Print the output of a run until it ends, then collect its results and record its end."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module

from amlexec import kinds
from amlexec.errors import TargetError, UnreachableError
from amlexec.history import folders, record
from amlexec.light_typing import TYPE_CHECKING
from amlexec.runs import lifecycle, registered
from amlexec.values import Detached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.runs.talk import Talk
    from amlexec.targets.target import State, Target
    from amlexec.values import Project

__all__ = ["follow"]

_NEEDED_AT_THE_END = (
    "datetime",
    "shutil",
    "amlexec.history.metrics",
    "amlexec.history.record_checks",
    "amlexec.environments.python_packages",
    "amlexec.runs.leftovers",
    "amlexec.targets.outputs",
)
"""Imported while the script runs."""


def follow(
    project: Project,
    paths: RunPaths,
    run: Run,
    talk: Talk,
    *,
    end_pipe: IO[bytes] | None = None,
    target: Target | None = None,
) -> Run | Detached:
    """Print the run's output, from its beginning, until it ends; then collect its outputs and record its end.

    Ctrl-C stops following, not the run.
    """
    target = target or lifecycle.target_of_run(project, run)
    try:
        for name in _NEEDED_AT_THE_END:
            import_module(name)
        state = target.follow(paths, end_pipe, talk.stdout, talk.stderr)
    except KeyboardInterrupt:
        return Detached(run.run_id, "interrupt")
    except BrokenPipeError:
        return Detached(run.run_id, "pipe")
    finally:
        if end_pipe is not None:
            end_pipe.close()
    try:
        # From another machine it can take long. An interrupt loses nothing: it can be repeated.
        with _uninterrupted() if kinds.of(run.target_kind).is_here else nullcontext():
            run = _settled(project, paths, run, state, target)
    except KeyboardInterrupt:
        return Detached(run.run_id, "interrupt")
    except UnreachableError as error:
        error.hint = (
            f"nothing is lost: when it can be reached again, amlexec experiment return -r {run.run_id} "
            "downloads the results"
        )
        raise
    except OSError as error:
        raise TargetError(
            f"the run has ended, but its end could not be recorded: {error.strerror or error}",
            where=str(error.filename or paths.folder),
            hint=f"nothing is lost: fix that, then amlexec experiment status -r {run.run_id}",
        ) from error
    with suppress(KeyboardInterrupt):  # the registry may be far away, and it can be repeated
        registered.register(paths, run)
    return run


def _settled(project: Project, paths: RunPaths, run: Run, state: State, target: Target) -> Run:
    until = time.monotonic() + lifecycle.GRACE_TIMEOUT_S
    while True:
        run = lifecycle.refresh(project, folders.read(paths), state, target, registers=False)
        if run.status in record.FINAL:
            return run
        if time.monotonic() > until:
            raise TargetError(
                f"the end of the run {run.run_id} can't be recorded: another process has its lock",
                where=str(paths.lock),
                hint=f"check again: amlexec experiment status -r {run.run_id}",
            )
        time.sleep(0.02)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C while the end of a run is recorded, which takes milliseconds."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
