"""Rules for the `Sweep` section of a run configuration that its schema can't express."""

from __future__ import annotations

from amlexec.config.document import Mapping, Scalar
from amlexec.config.generations import find, values
from amlexec.config.messages import shown
from amlexec.errors import UsageError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.values import Place, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from amlexec.config.document import Node

__all__ = ["check"]


def check(path: str, section: Mapping, data: dict[str, Any]) -> Iterator[Violation]:
    """Every violation in a section; `data` are its values, typed by the schema."""
    yield from _parameters(path, section, data)
    given = {key for key, value in data.items() if value not in (None, "", {}, [])}
    if {"Parameters", "List"} <= given:
        message = "the points come either from List or from Parameters"
        yield _error(path, section, "List", message, "remove one")
    if data.get("Search") == "random" and "Points" not in given:
        message = "a random search needs Points, their number"
        yield _error(path, section, "Search", message, "write Points: 20")
    if ("Metric" in given) != ("Goal" in given):
        have, lack = ("Metric", "Goal") if "Metric" in given else ("Goal", "Metric")
        yield _error(path, section, have, f"{have} needs {lack}", "Goal is maximize or minimize")
    if "EarlyStop" in given:
        from amlexec.search import early_stop

        if "Metric" not in given:
            hint = "name the metric, and write Goal"
            yield _error(path, section, "EarlyStop", "EarlyStop needs Metric", hint)
        try:
            early_stop.parsed(str(data["EarlyStop"]))
        except UsageError as error:
            yield _error(path, section, "EarlyStop", error.message, error.hint)


def _parameters(path: str, section: Mapping, data: dict[str, Any]) -> Iterator[Violation]:
    from amlexec.search.grammar import BadValuesError
    from amlexec.search.space import Grid, Parameter

    parameters = find(section, "Parameters")
    for name, entry in parameters.entries.items() if isinstance(parameters, Mapping) else ():
        node: Node = entry.value
        place = Place(path, node.line, node.column)
        key = f"Sweep.Parameters.{name}"
        if isinstance(node, Mapping):
            continue  # the schema has it
        if isinstance(node, Scalar) and (node.is_null or not node.text):
            yield Violation(place, "error", f"{shown(name)} has no values", "write a list: [0.1, 0.01]", key)
            continue
        try:
            domain = values(node)
            if data.get("Search") in {None, "grid"}:
                Grid([Parameter(name, domain)])
        except BadValuesError as error:
            hint = error.hint.replace("--random N", "Search: random")
            message = str(error) if str(error).startswith(name) else f"{name}: {error}"
            yield Violation(place, "error", message, hint, key)


def _error(path: str, section: Mapping, key: str, message: str, hint: str) -> Violation:
    node = find(section, key) or section
    return Violation(Place(path, node.line, node.column), "error", message, hint, f"Sweep.{key}")
