"""The environment of a run configuration as a doit task: its dependencies, state and action."""

from __future__ import annotations

import os

from amlexec import doit_internals, doit_signals
from amlexec.console import show
from amlexec.doit_reporter import CALL
from amlexec.errors import AmlexecError, CannotRunError
from amlexec.escaping import visible
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from amlexec.prepare.input_files import InputFiles
    from amlexec.prepare.parallel import ParallelPrepare
    from amlexec.prepare.project import ProjectEnvironments
    from amlexec.values import Project

__all__ = ["Environment", "from_here", "prepare", "remove_environment", "task_name"]


def from_here(project: Project, paths: Iterable[str]) -> list[str]:
    """Absolute paths as a dodo.py writes them: files of the project are relative to the current folder.

    doit compares strings: a dependency must equal the target of the task that creates it.
    """
    here, root = os.getcwd(), project.root.rstrip("/")  # noqa: PTH109
    inside, project_inside = f"{here.rstrip('/')}/", f"{root}/"
    return [
        path[len(inside) :]
        if path.startswith(inside)
        else os.path.relpath(path, here)
        if path.startswith(project_inside)
        else path
        for path in paths
    ]


def task_name(name: str) -> str:
    """The task name for a file. doit allows no `=` in it."""
    return visible(name).replace("=", "\\x3d")


class Environment:
    """The environment of a run configuration, and whether it is up to date; an `uptodate` of doit."""

    def __init__(
        self, environments: ProjectEnvironments, name: str, ahead: ParallelPrepare, inputs: InputFiles
    ) -> None:
        self.environments = environments
        self.name = name
        self.ahead = ahead
        self.inputs = inputs
        self.reason = ""
        """A sentence: why it is not up to date, or why it is."""
        self.is_ready = False
        self._why = ""

    @property
    def is_named(self) -> bool:
        """Whether its task was selected by its own name, and not through the group."""
        return f"prepare:{task_name(self.name)}" in CALL.named

    def words(self) -> str:
        """Why its task has to run, for `doit info`."""
        return self._why

    def package_files(self) -> list[str]:
        """The files of its local packages, as dependencies of its task."""
        from amlexec.prepare import input_files

        project = self.environments.project
        return from_here(project, input_files.package_files(project, self.inputs))

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Whether it is up to date and doit has saved its digest. Connects only when tasks run."""
        is_running = doit_internals.is_about_to_run(task)
        try:
            found = self.ahead.look(self.name) if is_running else None
            if found is None:
                ref = self.environments.ref(self.name, keep=is_running)
                found = self.environments.look(ref) if is_running else self.environments.expect(ref)
        except OSError as error:
            return self._failed(str(error))
        except AmlexecError as error:
            if is_running and isinstance(error, CannotRunError) and not self.is_named:
                # It gets one line, and the other tasks run.
                self.reason = error.message
                return True
            return self._failed("; ".join(error.lines()))
        self.reason, self.is_ready = found.reason, found.ready
        self._why = found.reason
        if found.ready and values.get("digest") != found.digest:
            self._why = "It has another digest than before." if values else "It was not executed yet."
            return False
        return found.ready

    def _failed(self, why: str) -> bool:
        """Save the reason. The action raises the error again, and it is printed."""
        self.reason, self._why, self.is_ready = why, why, False
        return False


def prepare(environment: Environment) -> int | dict[str, str]:
    """Build it if it is not up to date, and print the result; an exit code, or its digest for other tasks."""
    from amlexec import progress
    from amlexec.commands.prepare import status_line
    from amlexec.console import data
    from amlexec.images import registry

    environments, name = environment.environments, environment.name
    try:
        ref = environments.ref(name, keep=True)
    except CannotRunError as error:
        if environment.is_named:
            raise
        data(f"{name}: nothing to do, {error.message}")
        return {"digest": ""}
    if doit_signals.in_thread():
        words = ["experiment", "prepare", "-c", name, "-p", environments.project.root]
        code = doit_signals.run([*words, *(["--force"] if CALL.is_always else [])])
        return code or {"digest": ref.digest}
    forced = "doit -a" if CALL.is_always else ""
    found = environment.ahead.look(name) or environments.look(ref)
    if found.ready and not forced and not ref.is_yours:
        # A file has changed, but not the environment.
        data(f"{name}: nothing to do, {found.reason}")
        return {"digest": found.digest}
    done = environment.ahead.prepare(name)
    if done is None:
        with progress.for_terminal() as shown:
            done = environments.prepare(ref, shown, pull_from=registry.place(), forced=forced)
    data(status_line(ref, done))
    # The files may have been edited since they were read first.
    return {"digest": done.digest}


def remove_environment(environment: Environment, dryrun: bool) -> None:
    """The action of `doit clean`; doit prints this function's name."""
    from amlexec.commands.clean import removal_lines
    from amlexec.console import data

    try:
        removals = environment.environments.remove(environment.name, dry_run=dryrun)
        for line in removal_lines(removals, dry_run=dryrun) if removals else ["nothing to remove"]:
            data(f"prepare:{environment.name}: {line}")
    except (AmlexecError, OSError) as error:
        # doit prints a traceback for a failed clean action. The others must go on.
        CALL.code = max(CALL.code, show(error))
