"""What we reach for inside doit, where it offers no way in: all of it is here, and none of it elsewhere.

Written for doit 0.37. `tests/test_doit_internals.py` tries each function and names the doit that changed.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from doit import doit_cmd
from doit.cmd_base import DoitCmdBase
from doit.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["intercept", "is_about_to_run", "loading_command", "running_runner", "stop", "variables"]


def loading_command() -> Any | None:
    """The doit command that is loading tasks now; None where no doit command called us.

    It isn't passed to the functions that make tasks, so it is looked for among their callers.
    """
    return _caller(DoitCmdBase)


def running_runner() -> Any | None:
    """The object that runs the tasks and is calling a reporter now; None where none is."""
    return _caller(Runner)


def _caller(kind: type) -> Any | None:
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, kind):
            return found
        frame = frame.f_back
    return None


def intercept(command: Any, call: Callable[..., Any]) -> None:
    """Have `call(execute, *arguments, **options)` stand for what a command does; `execute` does it.

    doit has no hook between reading the command line and obeying it. Idempotent for each command.
    """
    if "_execute" in vars(command):
        return
    execute = command._execute  # noqa: SLF001

    @functools.wraps(execute)  # doit reads from it which parameters it takes
    def instead(*arguments: Any, **options: Any) -> Any:
        return call(execute, *arguments, **options)

    command._execute = instead  # noqa: SLF001


def variables() -> Mapping[str, str]:
    """The variables of the command line (`name=value`). `get_var` returns one of which the name is known."""
    return dict(getattr(doit_cmd, "_CMDLINE_VARS", None) or {})


def is_about_to_run(task: Any) -> bool:
    """Whether `uptodate` of a task is asked in order to run it, and not to list it or to tell about it.

    Only a runner gives a task that declares no verbosity one, whatever the reporter.
    """
    return task.verbosity is not None


def stop(runner: Any) -> None:
    """Keep a runner from starting more tasks."""
    runner._stop_running = True  # noqa: SLF001
