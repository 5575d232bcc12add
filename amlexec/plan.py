"""PLAN: combine the files and the command line to one plan. No I/O, no clock."""

from __future__ import annotations

import re

from amlexec.errors import UsageError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.values import Declaration

__all__ = ["plan", "references_in"]

_FROM_ENVIRONMENT = r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}"
_CURRENT_FILE = "$file"
"""In Workbench, the file that was open in its window. Here the command line names the script."""


def plan(
    declaration: Declaration,
    script: str | None,
    arguments: Sequence[str] = (),
    *,
    tracked: bool = True,
    prepare: bool = False,
    environment: Mapping[str, str] | None = None,
    environment_digest: str = "",
) -> Plan:
    """Decide what will be executed.

    A `script` on the command line, with its `arguments`, replaces the whole ArgumentVector. `script` is
    relative to the project's root. `prepare` prepares the environment first, as PrepareEnvironment does.
    `${env:NAME}` in a value of EnvironmentVariables is the variable NAME of `environment`, the submitting
    user's. `environment_digest` is as in `Plan`.

    Raises:
        UsageError: there is no script to run, the target can't run this framework, or a variable is not set.
    """
    configuration = declaration.run_configuration
    target = declaration.compute_target
    if script is None:
        script, arguments = _vector(declaration)
    return Plan(
        project=declaration.project,
        configuration=configuration.name,
        target=target,
        framework=configuration.framework,
        script=_normal(script),
        arguments=tuple(arguments),
        environment_variables=_variables(declaration, environment or {}),
        handed_over=tuple(
            pair for pair in configuration.environment_variables if re.search(_FROM_ENVIRONMENT, pair[1])
        ),
        conda_dependencies_file=configuration.conda_dependencies_file,
        spark_dependencies_file=configuration.spark_dependencies_file,
        prepare_environment=configuration.prepare_environment or prepare,
        environment_digest=environment_digest,
        tracked=configuration.tracked_run and tracked,
        warnings=tuple(line for note in declaration.notes for line in note.lines()),
        models=configuration.models,
    )


def references_in(text: str) -> tuple[str, ...]:
    """The variables whose values a declared value gets from the environment: NAME for each `${env:NAME}`."""
    return tuple(re.findall(_FROM_ENVIRONMENT, text))


def _variables(declaration: Declaration, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The script's variables. Values from the environment are in no file of the project."""
    configuration = declaration.run_configuration

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise UsageError(
                f"EnvironmentVariables has {match[0]}, but the variable {match[1]} is not set",
                where=str(configuration.place),
                hint=f"set {match[1]} in the environment of this command: the script gets its value",
            )
        return environment[match[1]]

    return tuple(
        (name, re.sub(_FROM_ENVIRONMENT, value, text)) for name, text in configuration.environment_variables
    )


def _vector(declaration: Declaration) -> tuple[str, Sequence[str]]:
    configuration = declaration.run_configuration
    where = str(configuration.argument_vector_place if configuration.argument_vector else configuration.place)
    name = configuration.name
    hint = f"name one: doit submit:{name} script=SCRIPT, or amlexec experiment submit -c {name} SCRIPT"
    if not configuration.argument_vector:
        raise UsageError("there is no script to run: ArgumentVector is empty", where=where, hint=hint)
    if _CURRENT_FILE in configuration.argument_vector:
        raise UsageError(
            f"there is no script to run: ArgumentVector has {_CURRENT_FILE}, "
            "which the command line has to replace",
            where=where,
            hint=hint,
        )
    return configuration.argument_vector[0], configuration.argument_vector[1:]


def _normal(script: str) -> str:
    """`./a\\b.py` as `a/b.py`; SNAPSHOT refuses paths that lead out of the project."""
    parts: list[str] = []
    for part in script.replace("\\", "/").split("/"):
        if part == "..":
            if not parts or parts[-1] == "..":
                parts.append(part)
            else:
                parts.pop()
        elif part != "." and (part or not parts):
            parts.append(part)
    return "/".join(parts) or script
