"""PLAN: what the files say and what the command line says, decided. No disk, no clock, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import UsageError
from amlexec.model import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.model import Declaration

__all__ = ["plan"]

_CURRENT_FILE = "$file"
"""The file that is open in Workbench's window. A command line has no such thing."""


def plan(
    declaration: Declaration,
    script: str | None,
    arguments: Sequence[str] = (),
    *,
    tracked: bool = True,
    prepare: bool = False,
) -> Plan:
    """What will be executed.

    A `script` on the command line, with its `arguments`, stands for the whole ArgumentVector; without one
    the vector runs as it is written. `script` is relative to the project's root. `prepare` makes the
    environment ready first, as PrepareEnvironment does.

    Raises:
        UsageError: there is no script to run, or the target can't run this framework.
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
        environment_variables=configuration.environment_variables,
        conda_dependencies_file=configuration.conda_dependencies_file,
        spark_dependencies_file=configuration.spark_dependencies_file,
        prepare_environment=configuration.prepare_environment or prepare,
        tracked=configuration.tracked_run and tracked,
        warnings=tuple(line for note in declaration.notes for line in note.lines()),
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
            f"there is no script to run: ArgumentVector says {_CURRENT_FILE}, "
            "which the command line has to replace",
            where=where,
            hint=hint,
        )
    return configuration.argument_vector[0], configuration.argument_vector[1:]


def _normal(script: str) -> str:
    """`./a\\b.py` as `a/b.py`; what leads out of the project is left for SNAPSHOT to refuse."""
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
