"""The definition of a new sweep, from the command line and the run configuration's `Sweep` section."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.config import load as config
from amlexec.errors import UsageError
from amlexec.history.record import SnapshotRecord, instant
from amlexec.plan import plan
from amlexec.runs import submit as submission
from amlexec.search import early_stop
from amlexec.search.domains import Choices
from amlexec.search.grammar import BadValuesError
from amlexec.sweeps import definition as definitions
from amlexec.sweeps import execute, point_files
from amlexec.sweeps.arguments import swept

if TYPE_CHECKING:
    from collections.abc import Iterable

    from amlexec.search.domains import Value
    from amlexec.search.section import SweepSection
    from amlexec.search.space import Parameter, Point
    from amlexec.sweeps.definition import Definition
    from amlexec.values import Project

__all__ = ["declared", "draft"]

_OPTIONS = {
    *("-j", "--jobs", "--dry-run", "--resume", "--retry", "--random", "--optuna", "--list"),
    *("--early-stop", "--fail-fast"),
}
"""Options of amlexec that few scripts have."""


def draft(project: Project, arguments: argparse.Namespace) -> Definition:
    """The definition without targets and snapshot. Options of the command line override the section.

    Raises:
        UsageError: the options contradict each other, or there is nothing to search.
        ConfigurationError: the run configuration, the file of points or the job has errors.
    """
    _check(arguments)
    section = config.load_sweep(project, arguments.run_configuration[0])
    script, words, parameters, section = _script(project, arguments, section)
    listed, parameters = _each_once(*_points(project, arguments, section, parameters))
    section = _overridden(section, arguments)
    found = definitions.Definition(
        id="",
        created_utc=instant(time.time()),
        targets=(),
        script=script,
        arguments=words,
        parameters=parameters,
        search="list" if listed else section.search or "grid",
        listed=listed,
        most_points=section.points,
        seed=int.from_bytes(os.urandom(4), "big") if section.seed is None else section.seed,
        sampler=section.sampler,
        metric=section.metric,
        goal=section.goal,
        early_stop=early_stop.parsed(section.early_stop) if section.early_stop else None,
        jobs=section.jobs,
        fail_fast=section.fail_fast,
        timeout_s=section.timeout,
        run_timeout_s=section.run_timeout,
        snapshot=SnapshotRecord("", 0, 0),
        source=None,
    )
    _check_points(found)
    for name in [name for name, _ in (*found.parameters, *(found.listed[0] if found.listed else ()))]:
        if execute.hides(name):
            console.say(
                f"warning: {name} looks like a secret: records hide its values, but the files of the sweep "
                "have them; EnvironmentVariables can pass it with ${env:NAME}"
            )
    return found


def declared(project: Project, name: str) -> Definition | None:
    """The definition of the sweep that a run configuration declares; None without one.

    A random search that names no seed has the seed 0: its points stay the same. Raises as `draft`.
    """
    section = config.load_sweep(project, name)
    if not section.parameters and not section.list_file:
        return None
    options = dict.fromkeys(
        ("retry", "job", "script", "target", "project", "list", "random", "optuna", "fail_fast", "sampler")
    )
    options |= dict.fromkeys(("metric", "goal", "early_stop", "jobs", "timeout", "run_timeout"))
    seed = section.seed or 0
    return draft(project, argparse.Namespace(run_configuration=[name], tail=[], seed=seed, **options))


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.run_configuration:
        raise UsageError(
            "a sweep needs a run configuration", hint="name it: -c NAME; or continue a sweep: --resume last"
        )
    if arguments.retry:
        raise UsageError("--retry needs --resume", hint="name the sweep: --resume SWEEP --retry")
    if arguments.job and arguments.script:
        raise UsageError("--job names the script itself", hint="leave out the script, or --job")
    if len(arguments.run_configuration) > 1 and arguments.target:
        raise UsageError("--target can't be used with several run configurations")


def _script(
    project: Project, arguments: argparse.Namespace, section: SweepSection
) -> tuple[str, tuple[str, ...], tuple[Parameter, ...], SweepSection]:
    """The script, its arguments, the parameters in them, and the section, which may be that of a job."""
    if arguments.job:
        from amlexec.sweeps import azure_job

        job = azure_job.read(project, Path(arguments.job))
        for note in job.notes:
            console.say(note)
        return job.script, job.arguments, (), job.section
    if arguments.script is not None:
        _warn_of_options(arguments.tail)
        words, parameters = swept(arguments.tail)
        folder = arguments.project or os.getcwd()  # noqa: PTH109 - one import less
        return submission.script_in(project, arguments.script, folder), words, parameters, section
    declaration = config.load(project, arguments.run_configuration[0], arguments.target or "")
    planned = plan(declaration, None, environment=os.environ)
    return planned.script, planned.arguments, (), section


def _warn_of_options(tail: Iterable[str]) -> None:
    """Say which arguments of the script look like options that were meant for amlexec."""
    for word in tail:
        if word.partition("=")[0] in _OPTIONS:
            console.say(
                f"warning: {word} stands after the script's name, so the script gets it; write options of "
                "amlexec before the name"
            )


def _points(
    project: Project, arguments: argparse.Namespace, section: SweepSection, parameters: tuple[Parameter, ...]
) -> tuple[tuple[Point, ...], tuple[Parameter, ...]]:
    """Either listed points, or parameters; those of the command line take the place of the section's."""
    if arguments.list:
        if parameters:
            raise UsageError(
                f"--list has the points, and the arguments have several values of {parameters[0].name}",
                hint="write the values into the file, or leave out --list",
            )
        return point_files.read(Path(arguments.list)), ()
    parameters = parameters or section.parameters
    if parameters:
        return (), parameters
    if section.list_file:
        return point_files.read(Path(project.root, section.list_file)), ()
    raise UsageError(
        "there is nothing to search: no argument has several values",
        hint="write them as --lr 0.1,0.01 or --depth 2..6; amlexec experiment sweep --help",
    )


def _each_once(
    listed: tuple[Point, ...], parameters: tuple[Parameter, ...]
) -> tuple[tuple[Point, ...], tuple[Parameter, ...]]:
    """The same without the points and values that are listed again."""
    points: dict[tuple[tuple[str, str], ...], Point] = {}
    for point in listed:
        points.setdefault(tuple((name, value.text) for name, value in point), point)
    if again := len(listed) - len(points):
        console.say(f"{again} of {len(listed)} points are listed again: each is executed once")
    return tuple(points.values()), tuple(_with_each_once(parameter) for parameter in parameters)


def _with_each_once(parameter: Parameter) -> Parameter:
    values = parameter.domain.values if isinstance(parameter.domain, Choices) else ()
    kept: dict[str, Value] = {}
    for value in values:
        kept.setdefault(value.text, value)
    if not (again := len(values) - len(kept)):
        return parameter
    console.say(f"{again} of {len(values)} values of {parameter.name} are listed again: each is tried once")
    return parameter._replace(domain=Choices(tuple(kept.values())))


def _overridden(section: SweepSection, arguments: argparse.Namespace) -> SweepSection:
    names = ("seed", "sampler", "metric", "goal", "early_stop", "jobs", "timeout", "run_timeout")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    for search in ("random", "optuna"):
        if number := getattr(arguments, search):
            given |= {"search": search, "points": number}
    if arguments.fail_fast:
        given["fail_fast"] = True
    section = section._replace(**given)
    if bool(section.metric) != bool(section.goal):
        if section.metric:
            raise UsageError(
                f"the metric {section.metric} has no goal", hint="add --goal maximize or --goal minimize"
            )
        raise UsageError(f"there is no metric to {section.goal}", hint="add --metric NAME")
    if section.early_stop and not section.metric:
        raise UsageError("--early-stop needs a metric", hint="add --metric NAME --goal maximize or minimize")
    return section


def _check_points(found: Definition) -> None:
    """Raises UsageError if the space is too large, or an argument mentions an unknown parameter."""
    try:
        points = definitions.points_of(found)
    except BadValuesError as error:
        raise UsageError(str(error), hint=error.hint) from None
    if points is None:
        from amlexec.sweeps import optuna_search

        optuna_search.check(found)
    elif found.early_stop is not None and found.early_stop.rule in early_stop.OF_OPTUNA:
        raise UsageError(f"the rule {found.early_stop.rule} is one of Optuna", hint="search with --optuna N")
    names = [name for name, _ in (found.parameters if points is None else points[0])]
    for name in definitions.names_in(found.arguments):
        if name not in names:
            raise UsageError(
                f"an argument mentions {definitions.placeholder(name)}, and there is no parameter {name}",
                hint=f"the parameters are {', '.join(names)}",
            )
