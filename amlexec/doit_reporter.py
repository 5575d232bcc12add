"""doit's output for a project: errors in amlexec's format, and their exit codes."""

from __future__ import annotations

import multiprocessing
import sys
from contextlib import suppress

from doit.exceptions import TaskError, TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter, ErrorOnlyReporter, ExecutedOnlyReporter, JsonReporter, ZeroReporter
from doit.runner import MRunner, MThreadRunner

from amlexec import doit_internals, doit_signals
from amlexec.console import say, show, write
from amlexec.errors import AmlexecError
from amlexec.escaping import visible
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["CALL", "Call", "Ended", "Failed", "Reporter", "output", "reporters"]


class Call:
    """One `doit` command: its selection, and the result of its tasks."""

    def __init__(self) -> None:
        self.named: set[str] = set()
        """The tasks that were selected by name, without the members of selected groups."""
        self.is_always = False
        """Whether tasks run even if nothing has changed (`doit -a`)."""
        self.code = 0
        """The highest exit code of amlexec's tasks."""
        self.others = False
        """Whether a task of the user's own failed."""


CALL = Call()


class _WithCode:
    """A failure of a task with its own exit code; the message is that of `error`."""

    exit_code: int
    error: BaseException | None


def _text(error: BaseException | None) -> str:
    return "\n".join(error.lines()) if isinstance(error, AmlexecError) else str(error or "")


class Failed(_WithCode, TaskFailed):  # type: ignore[misc]  # doit has no types
    """The script failed, or a check did."""

    def __init__(self, error: BaseException | None, exit_code: int = 1) -> None:
        super().__init__(_text(error))
        self.error = error
        self.exit_code = exit_code


class Ended(_WithCode, TaskError):  # type: ignore[misc]  # noqa: N818 - a result in doit's terms
    """amlexec failed, was used wrongly, or was interrupted."""

    def __init__(self, error: BaseException | None, exit_code: int) -> None:
        super().__init__(_text(error))
        self.error = error
        self.exit_code = exit_code


class _Escaping:
    """doit's stream with control characters escaped: tasks are named after files."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is sys.stdout:
            with suppress(BrokenPipeError):  # tasks must run even if the output is closed
                write(visible(text))
        else:
            self._stream.write(visible(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def output() -> Any:
    """The current stdout for a command of doit, which otherwise keeps the first one."""
    return _Escaping(sys.stdout)


class _Door:
    """A mixin for doit's reporters that handles amlexec's tasks."""

    shows_errors = True

    def __init__(self, outstream: Any, options: Any) -> None:
        # `outstream` is None if stdout was closed when doit started.
        super().__init__(_Escaping(outstream or sys.stdout), options)  # type: ignore[call-arg]
        self._selected: list[str] = []
        self._begun: set[str] = set()

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: Iterable[str]) -> None:
        """Tasks are about to run: handle signals, and start what can run in parallel."""
        if hasattr(super(), "initialize"):
            super().initialize(tasks, selected_tasks)  # type: ignore[misc]
        runner = doit_internals.running_runner()
        if runner is None:
            return
        forks = isinstance(runner, MRunner) and not isinstance(runner, MThreadRunner)
        if forks and sys.platform == "linux":
            # The default of later Pythons would have to pickle the tasks.
            multiprocessing.set_start_method("fork", force=True)
        doit_signals.begin(lambda: doit_internals.stop(runner), parallel=isinstance(runner, MRunner))
        self._selected = _selected(tasks, selected_tasks)
        CALL.named.update(selected_tasks)
        if not isinstance(runner, MRunner):
            _begin(tasks, self._selected)

    def execute_task(self, task: Any) -> None:
        """A task starts."""
        self._begun.add(task.name)
        super().execute_task(task)  # type: ignore[misc]

    def skip_uptodate(self, task: Any) -> None:
        """A task has nothing to do."""
        self._begun.add(task.name)
        super().skip_uptodate(task)  # type: ignore[misc]

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task did not succeed."""
        if isinstance(fail, _WithCode):
            CALL.code = max(CALL.code, fail.exit_code)
            if self.shows_errors:
                self.flush()
                if fail.error is not None:
                    show(fail.error)
                return
        elif isinstance(fail, UnmetDependency):
            # The task that it depends on has printed its error.
            CALL.code = max(CALL.code, 2 if not CALL.code else 0)
            if self.shows_errors:
                if not task.has_subtask:
                    self.flush()
                    say(f"{task.name}: not run, because {fail.message} did not succeed")
                return
        else:
            CALL.others = True
        super().add_failure(task, fail)  # type: ignore[misc]

    def complete_run(self) -> None:
        """All tasks have ended."""
        super().complete_run()  # type: ignore[misc]
        left = [name for name in self._selected if name not in self._begun]
        if doit_signals.code() and left and self.shows_errors:
            self.flush()
            say(f"not started: {', '.join(left)}")

    def flush(self) -> None:
        """Flush stdout, so that stderr comes after it."""
        self.outstream.flush()  # type: ignore[attr-defined]


class Reporter(_Door, ConsoleReporter):  # type: ignore[misc]  # doit has no types
    """doit's own console reporter; an `AmlexecError` is printed to stderr with its place and its hint."""

    def skip_uptodate(self, task: Any) -> None:
        """A task has nothing to do; print the reason if it is an environment's."""
        environment = environment_of(task)
        if environment is None:
            super().skip_uptodate(task)
        else:
            self._begun.add(task.name)
            self.write(f"-- {task.title()} ({environment.reason})\n")


class _ExecutedOnly(_Door, ExecutedOnlyReporter):  # type: ignore[misc]
    """`doit -r executed-only`."""


class _Zero(_Door, ZeroReporter):  # type: ignore[misc]
    """`doit -r zero`."""

    shows_errors = False


class _ErrorOnly(_Door, ErrorOnlyReporter):  # type: ignore[misc]
    """`doit -r error-only`."""


class _Json(_Door, JsonReporter):  # type: ignore[misc]
    """`doit -r json`."""

    shows_errors = False

    def flush(self) -> None:
        """stdout is JSON only."""


def reporters() -> dict[str, type]:
    """Replacements of doit's reporters, by their names for `doit -r`."""
    ours = {"console": Reporter, "executed-only": _ExecutedOnly, "zero": _Zero}
    return {**ours, "error-only": _ErrorOnly, "json": _Json}


def environment_of(task: Any) -> Any | None:
    """The `Environment` of a prepare task; None for other tasks."""
    return next((call for call, _, _ in task.uptodate if hasattr(call, "ahead")), None)


def _selected(tasks: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The selected tasks; for a group, its members."""
    selected: dict[str, None] = {}
    for name in names:
        selected.update(dict.fromkeys(_members(tasks, name) or [name]))
    return list(selected)


def _members(tasks: Mapping[str, Any], group: str) -> list[str]:
    return [name for name in tasks[group].task_dep if tasks[name].subtask_of == group]


def _begin(tasks: Mapping[str, Any], selected: Iterable[str]) -> None:
    """Start the selected prepare tasks in parallel (see `ParallelPrepare`).

    Not if doit runs tasks in parallel: forking a process that has threads is unsafe.
    """
    found: dict[Any, list[str]] = {}
    for name in selected:
        environment = environment_of(tasks[name])
        if environment is not None:
            found.setdefault(environment.ahead, []).append(environment.name)
    for ahead, names in found.items():
        ahead.begin(dict.fromkeys(names), forced="doit -a" if CALL.is_always else "")
