"""What doit prints at a project's door: errors as amlexec says them, and their exit codes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from doit import doit_cmd
from doit.exceptions import TaskError, TaskFailed
from doit.reporter import ConsoleReporter
from doit.runner import MRunner, MThreadRunner, Runner

from amlexec.console import show
from amlexec.errors import AmlexecError, UsageError
from amlexec.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["READ", "Ended", "Failed", "Reporter"]

READ: dict[str, set[str]] = {}
"""By task: the command line's variables (`name=value`) that it reads. The tasks' modules fill it in."""


class _Told:
    """An end of a task that has an exit code of its own; what there is to say comes from `error`."""

    exit_code: int
    error: BaseException | None


class Failed(_Told, TaskFailed):  # type: ignore[misc]  # doit has no types
    """The script, or what a task checks, is at fault."""

    def __init__(self, error: BaseException | None, exit_code: int = 1) -> None:
        super().__init__(str(error or ""))
        self.error = error
        self.exit_code = exit_code


class Ended(_Told, TaskError):  # type: ignore[misc]  # noqa: N818 - an end, as doit has it
    """amlexec could not do its part, was told something wrong, or was interrupted."""

    def __init__(self, error: BaseException | None, exit_code: int) -> None:
        super().__init__(str(error or ""))
        self.error = error
        self.exit_code = exit_code


class _Escaping:
    """doit's stream, with what would steer a terminal escaped: tasks have the names of files."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(visible(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Reporter(ConsoleReporter):  # type: ignore[misc]  # doit has no types
    """doit's own console reporter; an `AmlexecError` is printed to stderr with its place and its hint."""

    def __init__(self, outstream: Any, options: Any) -> None:
        super().__init__(_Escaping(outstream), options)
        self._code = 0

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: Iterable[str]) -> None:
        """Refuse variables that nobody reads, before anything runs."""
        super().initialize(tasks, selected_tasks)
        given = set(getattr(doit_cmd, "_CMDLINE_VARS", None) or ())
        wanted = {name for task in selected_tasks for name in READ.get(task.partition(":")[0], ())}
        unread = sorted(given - wanted - READ.get("", set()))
        if unread:
            # doit closes its database on the way out.
            raise SystemExit(show(_unread(unread[0], wanted)))
        # doit tells nobody what runs the tasks; it is who calls this.
        caller = inspect.currentframe()
        runner = caller.f_back.f_locals.get("self") if caller and caller.f_back else None
        forks = isinstance(runner, MRunner) and not isinstance(runner, MThreadRunner)
        if isinstance(runner, Runner) and not forks:
            _begin(tasks, selected_tasks)

    def skip_uptodate(self, task: Any) -> None:
        """A task that has nothing to do says why not, where it knows."""
        reason = (task.meta or {}).get("reason")
        if reason is None:
            super().skip_uptodate(task)
        else:
            self.write(f"-- {task.title()} ({reason!r})\n")

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task did not succeed."""
        if not isinstance(fail, _Told):
            super().add_failure(task, fail)
            return
        self.outstream.flush()
        if fail.error is not None:
            show(fail.error)
        self._code = max(self._code, fail.exit_code)

    def complete_run(self) -> None:
        """The end of it all."""
        super().complete_run()
        if self._code > 2:  # 0 to 2 are doit's own, and mean the same
            self.outstream.flush()
            raise SystemExit(self._code)


def _begin(tasks: Mapping[str, Any], selected: Iterable[str]) -> None:
    """Let the tasks that were asked for be begun with, where they can be side by side (see `Ahead`).

    Not where doit forks: a process must not be that has threads, and then its children do it side by side.
    """
    asked: dict[Any, list[str]] = {}
    for name in selected:
        of_group = [one for one in tasks[name].task_dep if tasks[one].subtask_of == name]
        for one in of_group or [name]:
            if "ahead" in (tasks[one].meta or {}):
                ahead, configuration = tasks[one].meta["ahead"]
                asked.setdefault(ahead, []).append(configuration)
    for ahead, names in asked.items():
        ahead.begin(dict.fromkeys(names))


def _unread(name: str, wanted: set[str]) -> AmlexecError:
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(wanted), n=1)
    if near:
        hint = f"did you mean {near[0]}=?"
    elif wanted:
        hint = f"there are {' and '.join(f'{known}=' for known in sorted(wanted, reverse=True))}"
    else:
        hint = "the tasks that were asked for take no variables"
    return UsageError(
        f"nobody reads the variable {name}=",
        hint=f"{hint}; a dodo.py that reads variables of its own says so with amlexec.tasks.variables()",
    )
