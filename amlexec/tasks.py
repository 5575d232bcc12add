"""A project's doit tasks: `from amlexec.tasks import *` in its `dodo.py`.

Tasks are made from the names of the files alone; a file with a mistake in it keeps nobody from `doit list`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit import get_var

from amlexec import doit_internals, doit_signals
from amlexec.config import load as config
from amlexec.console import open_streams, show
from amlexec.doit_command import READ, enter
from amlexec.doit_reporter import ENDS, NAMED, Ended, Failed, Reporter
from amlexec.errors import AmlexecError, CannotRunError
from amlexec.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amlexec.model import Project
    from amlexec.prepare.parallel import ParallelPrepare
    from amlexec.prepare.project import ProjectEnvironments

__all__ = ["DOIT_CONFIG", "task_lint", "task_prepare", "task_submit"]

DOIT_CONFIG = {
    "backend": "amlexec",
    "dep_file": ".amlexec/doit.db",
    "reporter": Reporter,
    # `doit` alone changes nothing outside the project's folder: environments are prepared when asked for.
    "default_tasks": ["lint"],
    # A machine that can't be reached is no reason to leave the others out.
    "continue": True,
}

READ["submit"] = {"script", "args"}
# A dodo.py is read before doit prints anything.
open_streams()


def variables(*names: str) -> None:
    """Declare variables (`doit TASK name=value`) that tasks of your own dodo.py read with `get_var`."""
    READ.setdefault("", set()).update(names)


def task_lint() -> Iterator[dict[str, Any]]:
    """validate the files of aml_config"""
    from amlexec.config.lint_tasks import Linting

    enter()
    project = _project()
    # One for all, so that each file is read once.
    linting = Linting(project)
    yield {"basename": "lint", "name": None, "doc": "validate the files of aml_config"}
    for file in sorted(linting.kinds):
        yield {
            "basename": "lint",
            "name": visible(file),
            "doc": f"validate {visible(file)}",
            "file_dep": [os.path.join(project.root, file)],  # noqa: PTH118 - thousands of them
            "uptodate": [
                _UpToDate(linting.verdict(file), "It was not linted yet, or what it refers to has changed.")
            ],
            "actions": [(_guarded, [linting.report, file])],
            "verbosity": 2,
        }


def task_prepare() -> Iterator[dict[str, Any]]:
    """make the environments ready whose dependencies have changed"""
    enter()
    from amlexec.prepare.parallel import ParallelPrepare
    from amlexec.prepare.project import ProjectEnvironments

    project = _project()
    # One for all, so that the engine is asked once for equal environments.
    environments = ProjectEnvironments(project)
    ahead = ParallelPrepare(environments)
    yield {"basename": "prepare", "name": None, "doc": "make the environments ready that aren't"}
    for name in config.run_configurations(project):
        environment = Environment(environments, name, ahead)
        yield {
            "basename": "prepare",
            "name": visible(name),
            "doc": f"make the environment of {visible(name)}.runconfig ready",
            "actions": [(_guarded, [_prepare, environment])],
            "uptodate": [environment],
            "clean": [(remove_environment, [environment])],
            "io": {"capture": False},
        }


def task_submit() -> Iterator[dict[str, Any]]:
    """run script=SCRIPT args="ARGUMENTS" on a copy of the project, and record the run"""
    enter()
    project = _project()
    yield {"basename": "submit", "name": None, "doc": "run script=SCRIPT args=ARGUMENTS, recorded"}
    for name in config.run_configurations(project):
        yield {
            "basename": "submit",
            "name": visible(name),
            "doc": f"run a script as {visible(name)}.runconfig says",
            "actions": [(_guarded, [_submit, project, name])],
            "uptodate": [_UpToDate(lambda *_: False, "Each submit is a new run.")],
            # The script's bytes go through as they are.
            "io": {"capture": False},
        }


class Environment:
    """The environment of a run configuration, and whether it is ready, as doit asks for it."""

    def __init__(self, environments: ProjectEnvironments, name: str, ahead: ParallelPrepare) -> None:
        self.environments = environments
        self.name = name
        self.ahead = ahead
        self.reason = ""
        self.is_ready = False

    def words(self) -> str:
        """Why it is not ready, in one sentence: for `doit info`."""
        return self.reason

    def __call__(self, task: Any) -> bool:
        """Whether it is ready: the engine is asked when tasks run, not for `doit list` and `doit info`."""
        is_running = doit_internals.is_about_to_run(task)
        try:
            found = self.ahead.look(self.name) if is_running else None
            if found is None:
                known = self.environments.known(self.name, keep=is_running)
                found = self.environments.look(known) if is_running else self.environments.expect(known)
        except AmlexecError as error:
            if is_running and task.name not in NAMED and isinstance(error, CannotRunError):
                # One line for it, and the others are done.
                self.reason = error.message
                return True
            # The action meets it again, and tells it.
            self.reason = "; ".join(error.lines())
            return False
        self.reason, self.is_ready = found.reason, found.ready
        return found.ready


def _project() -> Project:
    # doit changes into the folder of the dodo.py before it imports it.
    try:
        return config.find_project(Path.cwd())
    except AmlexecError as error:
        raise SystemExit(show(error)) from None


class _UpToDate:
    """Whether a task is up to date, and why it is not, in words: doit would show a function's address."""

    def __init__(self, check: Callable[[Any, dict[str, Any]], bool], words: str) -> None:
        self._check = check
        self._words = words

    def words(self) -> str:
        """What `doit info` says where it is not."""
        return self._words

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Whether it is, as doit asks for it."""
        return self._check(task, values)


def _guarded(action: Callable[..., int], *arguments: object) -> bool | Failed | Ended:
    """Do it; turn its exit code, or the error it raises, into what doit takes for an end."""
    try:
        with doit_signals.running():
            code = action(*arguments)
    except AmlexecError as error:
        return Failed(error) if error.exit_code == 1 else Ended(error, error.exit_code)
    except KeyboardInterrupt as error:
        return Ended(error, doit_signals.code() or 130)
    except OSError as error:
        return Ended(error, 2)
    if code == 0:
        return True
    return Failed(None) if code == 1 else Ended(None, code)


def _prepare(environment: Environment) -> int:
    from amlexec import progress
    from amlexec.commands.prepare import said
    from amlexec.console import data
    from amlexec.images import registry

    if doit_signals.in_thread():
        where = ("-c", environment.name, "-p", environment.environments.project.root)
        force = ["--force"] if environment.is_ready else []
        return doit_signals.run(["experiment", "prepare", *where, *force])
    known = environment.environments.known(environment.name, keep=True)
    # doit has asked whether it is ready, and executes the task all the same.
    forced = "doit -a" if environment.is_ready else ""
    found = None if forced else environment.ahead.prepare(environment.name)
    if found is None:
        with progress.for_terminal() as shown:
            found = environment.environments.prepare(known, shown, pull_from=registry.place(), forced=forced)
    data(said(known, found))
    return 0


def remove_environment(environment: Environment, dryrun: bool) -> None:
    """What `doit clean` does; doit shows this name."""
    from amlexec.commands.clean import told
    from amlexec.console import data

    try:
        removals = environment.environments.remove(environment.name, dry_run=dryrun)
        for line in told(removals, dry_run=dryrun) if removals else ["nothing to remove"]:
            data(f"prepare:{environment.name}: {line}")
    except (AmlexecError, OSError) as error:
        # doit has no end for a clean action that fails but a traceback; the others go on.
        ENDS.code = max(ENDS.code, show(error))


def _submit(project: Project, name: str) -> int:
    import shlex

    from amlexec import plan
    from amlexec.commands import running
    from amlexec.console import Console
    from amlexec.errors import UsageError
    from amlexec.runs import submit

    script = get_var("script")
    try:
        arguments = shlex.split(get_var("args") or "")
    except ValueError as error:
        raise UsageError(
            f"args= can't be split into arguments: {error}", hint="quote as a shell does"
        ) from None
    if script is None and arguments:
        raise UsageError(
            "args= is given, and script= is not", hint=f"doit submit:{name} script=SCRIPT args=…"
        )
    if script is not None:
        script = submit.script_in(project, script, os.getcwd())  # noqa: PTH109
    if doit_signals.in_thread():
        words = [] if script is None else ["--", script, *arguments]
        return doit_signals.run(["experiment", "submit", "-c", name, "-p", project.root, *words])
    planned = plan.plan(config.load(project, name), script, arguments, environment=os.environ)
    return running.finish(project, submit.submit(planned, Console()))
