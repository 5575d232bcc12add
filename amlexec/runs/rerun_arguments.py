"""The arguments and variables of a run that is repeated: as recorded, with what has to be given again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec.errors import UsageError
from amlexec.plan import references_in
from amlexec.redaction import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from amlexec.history.record import Run

__all__ = ["overridden", "variables"]

_NUMBER = re.compile(r"-\.?\d.*")


def overridden(run: Run, given: Sequence[str], *, replace: bool = False) -> tuple[str, ...]:
    """The run's arguments, with the options in `given` in place of recorded ones of the same name.

    `--lr 0.2` and `--lr=0.2` replace the value of `--lr`, in whichever form it was recorded; an option that
    was not recorded is added at the end. An option replaces as many values as it is given. With `replace`,
    `given` are all arguments.

    Raises:
        UsageError: a word of `given` belongs to no option, the run has an option more than once, or an
            argument was not recorded because it is a secret.
    """
    arguments = list(given) if replace else list(run.arguments)
    if not replace:
        for name, values in _options(given):
            _put(run, arguments, name, values)
    for number, text in enumerate(arguments, 1):
        if HIDDEN in text and text in run.arguments:
            before = arguments[number - 2] if number > 1 else ""
            option = (before if _is_option(before) else text).partition("=")[0]
            raise UsageError(
                f"argument {number} of {run.run_id} is a secret that was not recorded: {option}",
                hint="give it again after the run's id, or pass all arguments with --replace",
            )
    return tuple(arguments)


def _is_option(text: str) -> bool:
    return text.startswith("-") and len(text) > 1 and _NUMBER.fullmatch(text) is None


def _options(given: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each option with its values, as words of a command line."""
    found: list[tuple[str, list[str]]] = []
    for text in given:
        if _is_option(text):
            name, sign, value = text.partition("=")
            found.append((name, [value] if sign else []))
        elif found:
            found[-1][1].append(text)
        else:
            raise UsageError(
                f"{text!r} belongs to no option",
                hint="options replace recorded ones by their name; --replace replaces all arguments",
            )
    return found


def _put(run: Run, arguments: list[str], name: str, values: list[str]) -> None:
    places = [at for at, text in enumerate(arguments) if text == name or text.startswith(f"{name}=")]
    if len(places) > 1:
        raise UsageError(
            f"{run.run_id} has the option {name} {len(places)} times",
            hint="--replace replaces all arguments by the ones that you give",
        )
    if not places:
        arguments += [name, *values]
        return
    at = places[0]
    if "=" in arguments[at] and len(values) == 1:
        arguments[at] = f"{name}={values[0]}"
        return
    last = at + 1
    while last < len(arguments) and last - at <= len(values) and not _is_option(arguments[last]):
        last += 1
    arguments[at:last] = [name, *values]


def variables(
    run: Run, current: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """The run's variables in their declared form: `${env:NAME}` stands for a value that is handed over.

    Values that were not recorded because they are secrets are those of `current`, which the run configuration
    declares now. `environment` is this command's.

    Raises:
        UsageError: names every variable that has to be given again.
    """
    found = {
        name: current.get(name, HIDDEN) if value == HIDDEN else value
        for name, value in run.environment_variables.items()
    }
    unset = sorted(
        {needed for value in found.values() for needed in references_in(value) if needed not in environment}
    )
    lost = sorted(name for name, value in found.items() if value == HIDDEN)
    if not unset and not lost:
        return tuple(found.items())
    hints = [f"set {', '.join(unset)} in the environment of this command"] if unset else []
    if lost:
        example = f"{lost[0]}: ${{env:{lost[0]}}}"
        hints.append(f"declare {', '.join(lost)} in EnvironmentVariables of the run configuration: {example}")
    raise UsageError(
        f"variables of {run.run_id} have to be given again, because secrets are not recorded: "
        f"{', '.join([*unset, *lost])}",
        hint="; ".join(hints),
    )
