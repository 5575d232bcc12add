"""A project's doit tasks: `from amlexec.tasks import *` in its `dodo.py`.

`prepare:NAME` depends on every input file of its environment. If PrepareEnvironment is true, `submit:NAME`
depends on `prepare:NAME` and gets the environment's digest from it. `doit list` works even if a file has
mistakes, and no connection is opened before a task runs.
"""

from __future__ import annotations

import os
from functools import lru_cache, partial
from pathlib import Path

from doit import get_var

from amlexec import doit_signals
from amlexec.config import load as config
from amlexec.console import open_streams, show
from amlexec.doit_command import READ, enter
from amlexec.doit_environment import Environment, from_here, prepare, remove_environment, task_name
from amlexec.doit_reporter import Ended, Failed, Reporter
from amlexec.errors import INTERRUPTED, AmlexecError, TargetError
from amlexec.escaping import visible
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from amlexec.prepare.input_files import InputFiles
    from amlexec.values import Project

__all__ = [
    "DOIT_CONFIG",
    "service",
    "task_deploy",
    "task_image",
    "task_lint",
    "task_prepare",
    "task_submit",
    "task_sweep",
]

DOIT_CONFIG = {
    "backend": "amlexec",
    "dep_file": ".amlexec/doit.db",
    "reporter": Reporter,
    # `doit` alone changes nothing outside the project's folder: no environments are built.
    "default_tasks": ["lint"],
    # An unreachable machine must not stop the other tasks.
    "continue": True,
}

READ["submit"] = {"script", "args"}
# doit imports the dodo.py before it prints anything.
open_streams()


def variables(*names: str) -> None:
    """Declare variables (`doit TASK name=value`) that your dodo.py reads with `get_var`."""
    READ.setdefault("", set()).update(names)


def service(name: str, script: str, models: Sequence[str] = (), **settings: Any) -> None:
    """Declare a service in your dodo.py, for `doit image:NAME` and `doit deploy:NAME`.

    `models` are those of `amlexec service create --model`. Other settings: `target`, `conda`, `include`,
    `sample`, `replicas`, `port`, `publish`.
    """
    from amlexec import doit_service

    try:
        doit_service.declare(name, script, models, **settings)
    except AmlexecError as error:
        raise SystemExit(show(error)) from None


def task_lint() -> Iterator[dict[str, Any]]:
    """validate the files of aml_config"""
    from amlexec.config.lint_tasks import Linting

    enter()
    project = _project()
    # Shared by all tasks, so that each file is read once.
    linting = Linting(project)
    yield {"basename": "lint", "name": None, "doc": "validate the files of aml_config"}
    for file in sorted(linting.kinds):
        yield {
            "basename": "lint",
            "name": task_name(file),
            "doc": f"validate {visible(file)}",
            "file_dep": from_here(project, [os.path.join(project.root, file)]),  # noqa: PTH118
            "uptodate": [
                _UpToDate(
                    linting.verdict(file), "It was not linted yet, or a file that it refers to has changed."
                )
            ],
            "actions": [(_guarded, [linting.report, file])],
            "verbosity": 2,
        }


def task_prepare() -> Iterator[dict[str, Any]]:
    """prepare the environments that are not up to date"""
    command = enter()
    from amlexec.prepare.parallel import ParallelPrepare
    from amlexec.prepare.project import ProjectEnvironments

    project = _project()
    # Shared by all tasks, so that the engine is asked once for equal environments.
    environments = ProjectEnvironments(project)
    ahead = ParallelPrepare(environments)
    yield {"basename": "prepare", "name": None, "doc": "prepare the environments that are not up to date"}
    for name, inputs in _inputs(command, project).items():
        environment = Environment(environments, name, ahead, inputs)
        # For commands of doit, `doit_graph` adds the files of packages only where needed: git lists them.
        packages = [] if command is not None else environment.package_files()
        yield {
            "basename": "prepare",
            "name": task_name(name),
            "doc": f"prepare the environment of {visible(name)}.runconfig",
            "file_dep": [*from_here(project, inputs.files), *packages],
            "actions": [(_guarded, [prepare, environment])],
            "uptodate": [environment],
            "clean": [(remove_environment, [environment])],
            "io": {"capture": False},
        }


def task_submit() -> Iterator[dict[str, Any]]:
    """run script=SCRIPT args="ARGUMENTS" in a copy of the project, and record the run"""
    command = enter()
    project = _project()
    yield {"basename": "submit", "name": None, "doc": "run script=SCRIPT args=ARGUMENTS, recorded"}
    for name, inputs in _inputs(command, project).items():
        yield {
            "basename": "submit",
            "name": task_name(name),
            "doc": f"run a script with {visible(name)}.runconfig",
            "actions": [(_run, [project, name])],
            "uptodate": [_UpToDate(lambda *_: False, "Each submit is a new run.")],
            # Pass the script's output through unchanged.
            "io": {"capture": False},
            **(_waits_for(f"prepare:{task_name(name)}") if inputs.is_waited_for else {}),
        }


def task_sweep() -> Iterator[dict[str, Any]] | None:
    """execute the points of declared sweeps that are not up to date"""
    command = enter()
    project = _project()
    inputs_of = {name: inputs for name, inputs in _inputs(command, project).items() if inputs.has_sweep}
    if not inputs_of:
        return None  # then nothing about sweeps is imported
    from amlexec import doit_sweep
    from amlexec.prepare.project import ProjectEnvironments

    environments = ProjectEnvironments(project)
    found: list[dict[str, Any]] = []
    for name, inputs in inputs_of.items():
        declared = doit_sweep.declared(project, name, environments)
        if declared is not None:
            more = _waits_for(f"prepare:{task_name(name)}") if inputs.is_waited_for else {}
            found += doit_sweep.tasks_of(declared, _point, more)
    # For an empty generator doit would list a task without an action.
    return (task for task in found) if found else None


def task_image() -> Iterator[dict[str, Any]] | None:
    """make the images of declared services that are not up to date"""
    enter()
    from amlexec import doit_service

    project = _project()
    found = [
        {
            "basename": "image",
            "name": task_name(name),
            "doc": f"make the image of the service {visible(name)}",
            "file_dep": from_here(project, doit_service.files_of(project, declared)),
            "uptodate": [_UpToDate(partial(_image_is_made, project, declared), "Its models have changed.")],
            "actions": [(_guarded, [doit_service.image_made, project, declared])],
            "verbosity": 2,
        }
        for name, declared in sorted(doit_service.DECLARED.items())
    ]
    # For an empty generator doit would list a task without an action.
    return (task for task in found) if found else None


def task_deploy() -> Iterator[dict[str, Any]] | None:
    """deploy declared services that are not up to date"""
    enter()
    from amlexec import doit_service

    project = _project()
    found = [
        {
            "basename": "deploy",
            "name": task_name(name),
            "doc": f"deploy the service {visible(name)}",
            "task_dep": [f"image:{task_name(name)}"],
            "uptodate": [_UpToDate(partial(_is_deployed, project, declared), "It has another image.")],
            "actions": [(_guarded, [doit_service.deployed, project, declared])],
            "verbosity": 2,
        }
        for name, declared in sorted(doit_service.DECLARED.items())
    ]
    # For an empty generator doit would list a task without an action.
    return (task for task in found) if found else None


def _image_is_made(project: Project, declared: Any, _: Any, values: dict[str, Any]) -> bool:
    from amlexec import doit_service

    return doit_service.is_made(project, declared, values)


def _is_deployed(project: Project, declared: Any, *_: Any) -> bool:
    from amlexec import doit_service

    return doit_service.is_deployed(project, declared)


def _point(sweep: Any, number: int, digest: str = "") -> bool | object:
    """The action of `sweep:NAME:NUMBER`. doit passes it the digest from `prepare:NAME`."""
    from amlexec.doit_sweep import execute_point

    return _guarded(execute_point, sweep, number, digest)


def _waits_for(prepare: str) -> dict[str, Any]:
    """The keys of a task that runs after `prepare` and gets the digest of its environment."""
    # doit reads a `*` in a dependency as a pattern.
    escaped = "".join(f"[{character}]" if character in "*?[" else character for character in prepare)
    pattern = escaped if "*" in prepare else prepare
    return {"task_dep": [pattern], "setup": [prepare], "getargs": {"digest": (prepare, "digest")}}


def _inputs(command: object, project: Project) -> Mapping[str, InputFiles]:
    """The input files of each run configuration, read once for each command of doit."""
    if command is None:
        _inputs_for.cache_clear()
    return _inputs_for(command, project)


@lru_cache(maxsize=1)
def _inputs_for(_: object, project: Project) -> Mapping[str, InputFiles]:
    from amlexec.prepare import input_files

    return input_files.find(project, config.run_configurations(project))


def _project() -> Project:
    # doit changes to the folder of the dodo.py before it imports it.
    try:
        return config.find_project(Path.cwd())
    except AmlexecError as error:
        raise SystemExit(show(error)) from None


class _UpToDate:
    """Whether a task is up to date, with a reason: for a function, doit would print its address."""

    def __init__(self, check: Callable[[Any, dict[str, Any]], bool], words: str) -> None:
        self._check = check
        self._words = words

    def words(self) -> str:
        """The reason for `doit info` if the task is not up to date."""
        return self._words

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Whether the task is up to date; doit calls it."""
        return self._check(task, values)


def _guarded(action: Callable[..., int | dict[str, str]], *arguments: object) -> bool | object:
    """Run an action; its exit code or error as a result for doit.

    doit saves a dictionary as the values of a successful task, for `getargs` of other tasks.
    """
    try:
        with doit_signals.running():
            code = action(*arguments)
    except (AmlexecError, KeyboardInterrupt, OSError) as error:
        if isinstance(error, AmlexecError) and error.exit_code == 1:
            return Failed(error)
        if isinstance(error, KeyboardInterrupt) or doit_signals.code():  # which has led to the error
            return Ended(KeyboardInterrupt(), doit_signals.code() or INTERRUPTED)
        return Ended(error, error.exit_code if isinstance(error, AmlexecError) else TargetError.exit_code)
    if isinstance(code, dict):
        return code
    if code == 0:
        return True
    return Failed(None) if code == 1 else Ended(None, code)


def _run(project: Project, name: str, digest: str = "") -> bool | object:
    """The action of `submit:NAME`. doit passes it the digest from `prepare:NAME`."""
    return _guarded(_submit, project, name, digest)


def _submit(project: Project, name: str, digest: str) -> int:
    import shlex

    from amlexec import plan
    from amlexec.commands.submit import execute
    from amlexec.console import Console
    from amlexec.errors import UsageError
    from amlexec.runs import submit

    script = get_var("script")
    try:
        arguments = shlex.split(get_var("args") or "")
    except ValueError as error:
        raise UsageError(
            f"args= can't be split into arguments: {error}", hint="quote them as in a shell"
        ) from None
    if script is None and arguments:
        raise UsageError("args= is given without script=", hint=f"doit submit:{name} script=SCRIPT args=…")
    if script is not None:
        script = submit.script_in(project, script, os.getcwd())  # noqa: PTH109
    if doit_signals.in_thread():
        words = [] if script is None else ["--", script, *arguments]
        return doit_signals.run(["experiment", "submit", "-c", name, "-p", project.root, *words])
    planned = plan.plan(
        config.load(project, name), script, arguments, environment=os.environ, environment_digest=digest
    )
    return execute(planned, Console())
