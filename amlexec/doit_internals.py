"""Every use of doit's private parts, where it has no public interface.

Written for doit 0.37. `tests/test_doit_internals.py` tests each function, and fails if doit has changed.
"""

from __future__ import annotations

import functools
import inspect

from doit import doit_cmd
from doit.cmd_base import DoitCmdBase
from doit.runner import Runner

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["intercept", "is_about_to_run", "loading_command", "running_runner", "stop", "variables"]


def loading_command() -> Any | None:
    """The doit command that is loading tasks; None if no doit command called us.

    doit does not pass it to the functions that create tasks, so it is searched among their callers.
    """
    return _caller(DoitCmdBase)


def running_runner() -> Any | None:
    """The runner of the tasks, which is calling a reporter; None if there is none."""
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
    """Run `call(execute, *arguments, **options)` instead of a command; `execute` is the command itself.

    doit has no hook between parsing the command line and running the command. Idempotent for each command.
    """
    if "_execute" in vars(command):
        return
    execute = command._execute  # noqa: SLF001

    @functools.wraps(execute)  # doit inspects its parameters
    def instead(*arguments: Any, **options: Any) -> Any:
        return call(execute, *arguments, **options)

    command._execute = instead  # noqa: SLF001


def variables() -> Mapping[str, str]:
    """All variables of the command line (`name=value`). `get_var` returns a single one."""
    return dict(getattr(doit_cmd, "_CMDLINE_VARS", None) or {})


def is_about_to_run(task: Any) -> bool:
    """Whether doit evaluates `uptodate` to run the task, and not to list or describe it.

    Only a runner sets the verbosity of a task that declares none.
    """
    return task.verbosity is not None


def stop(runner: Any) -> None:
    """Keep a runner from starting more tasks."""
    runner._stop_running = True  # noqa: SLF001
