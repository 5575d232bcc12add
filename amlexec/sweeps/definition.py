"""The definition of a sweep, written once when it begins: what is searched, and how."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec import checked_values as checked
from amlexec.history.record import SnapshotRecord, Source
from amlexec.search.domains import Value, from_json, to_json
from amlexec.search.early_stop import EarlyStop
from amlexec.search.space import Grid, Listed, Parameter, Random

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.search.space import Point, Points

__all__ = [
    "GOALS",
    "SEARCHES",
    "Definition",
    "SweepTarget",
    "arguments_of",
    "is_sweep_id",
    "names_in",
    "parsed",
    "placeholder",
    "points_of",
    "text_of",
]

SEARCHES = ("grid", "random", "list", "optuna")
GOALS = ("maximize", "minimize")
_ID = re.compile(r"sweep_[0-9]{1,18}")
_PLACEHOLDER = re.compile(r"\$\{\{\s*search_space\.([^}\s]+)\s*\}\}")
_DIGEST = re.compile(r"(?:(?:sha256:)?[0-9a-f]{64})?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


def is_sweep_id(text: str) -> bool:
    """Whether this is a valid sweep id. Only such ids become paths."""
    return _ID.fullmatch(text) is not None


class SweepTarget(NamedTuple):
    """A run configuration that points are executed with, and its environment."""

    configuration: str
    target: str
    """Name of the compute target."""
    digest: str
    """The environment's digest; "" if the user manages the environment."""


class Definition(NamedTuple):
    """What a sweep executes. It never changes."""

    id: str
    created_utc: str
    targets: tuple[SweepTarget, ...]
    script: str
    arguments: tuple[str, ...]
    """Of the script; `${{search_space.NAME}}` stands for the value of a parameter."""
    parameters: tuple[Parameter, ...]
    search: str
    """One of `SEARCHES`."""
    listed: tuple[Point, ...]
    """The points of a list."""
    most_points: int
    """The number of points of a random search and of Optuna's; the most points of others, 0 for all."""
    seed: int
    sampler: str
    """Of Optuna."""
    metric: str
    """The metric that the points are compared by; "" for none."""
    goal: str
    """One of `GOALS`; "" without a metric."""
    early_stop: EarlyStop | None
    jobs: int
    """Runs at once on each target."""
    fail_fast: bool
    timeout_s: int
    """Seconds after which no more runs are started; 0 for no limit."""
    run_timeout_s: int
    """Seconds after which a run is stopped; 0 for no limit."""
    snapshot: SnapshotRecord
    source: Source | None


def points_of(definition: Definition) -> Points | None:
    """The points of a definition; None if they are chosen one after the other.

    Raises:
        BadValuesError: it has too many points, or a parameter has no steps.
    """
    if definition.search == "optuna":
        return None
    if definition.search == "random":
        return Random(definition.parameters, definition.most_points, definition.seed)
    if definition.search == "list":
        return Listed(definition.listed)
    return Grid(definition.parameters)


def placeholder(name: str) -> str:
    """The text that stands for a parameter's value in arguments, as in sweeps of Azure Machine Learning."""
    return f"${{{{search_space.{name}}}}}"


def arguments_of(definition: Definition, point: Point) -> tuple[str, ...]:
    """The script's arguments for a point. Parameters that no argument mentions follow as `--NAME VALUE`."""
    texts = {name: value.text for name, value in point}
    used: set[str] = set()

    def text(match: re.Match[str]) -> str:
        used.add(match[1])
        return texts.get(match[1], match[0])

    words = [_PLACEHOLDER.sub(text, word) for word in definition.arguments]
    for name, value in texts.items():
        if name not in used:
            words += [f"--{name}", value]
    return tuple(words)


def names_in(arguments: tuple[str, ...]) -> list[str]:
    """The parameters that arguments mention, in order."""
    return list(dict.fromkeys(match[1] for word in arguments for match in _PLACEHOLDER.finditer(word)))


def text_of(definition: Definition) -> str:
    """The text of the sweep's `sweep.json`."""
    values = definition._asdict()
    values["targets"] = [target._asdict() for target in definition.targets]
    values["parameters"] = [[name, to_json(domain)] for name, domain in definition.parameters]
    values["listed"] = [[[name, *value] for name, value in point] for point in definition.listed]
    stop = definition.early_stop
    values["early_stop"] = stop and {"rule": stop.rule, "options": dict(stop.options)}
    values["snapshot"] = definition.snapshot._asdict()
    values["source"] = definition.source and definition.source._asdict()
    return json.dumps(values) + "\n"


def parsed(text: str, sweep_id: str) -> Definition:
    """Parse the text of a `sweep.json`.

    Raises:
        ValueError: it is not the definition of this sweep, or a part of it is invalid.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict) or values.get("id") != sweep_id or not is_sweep_id(sweep_id):
        raise ValueError("it is not the definition of this sweep")
    fields: dict[str, Any] = {}
    for key, check in _CHECKS.items():
        if key not in values:
            raise ValueError(f"it has no {key}")
        try:
            fields[key] = check(values[key])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{key} {error}") from None
    return Definition(**fields)


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ValueError(f"is {str(value)[:80]!r}; expected {', '.join(filter(None, words))}")
        return str(value)

    return check


def _parameters(value: object) -> tuple[Parameter, ...]:
    if not isinstance(value, list):
        raise ValueError("is not a list")  # noqa: TRY004 - callers expect one error
    return tuple(Parameter(_name(name), from_json(domain)) for name, domain in value)


def _listed(value: object) -> tuple[Point, ...]:
    if not isinstance(value, list):
        raise ValueError("is not a list")  # noqa: TRY004 - callers expect one error
    return tuple(
        tuple(
            (_name(name), Value(checked.text(text), checked.plain_value(typed)))
            for name, text, typed in point
        )
        for point in value
    )


def _early_stop(value: object) -> EarlyStop:
    rule = checked.parts(dict, rule=checked.text, options=checked.map_of(_finite))(value)
    return EarlyStop(rule["rule"], tuple(rule["options"].items()))


def _finite(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 1e15:
        raise ValueError(f"is {checked.kind_of(value)}; expected a number")
    return value


_name = checked.matching(_NAME, "the name of a parameter")
_count = checked.number(0, 1 << 62)
_CHECKS: dict[str, Callable[[object], Any]] = {
    "id": checked.text,
    "created_utc": checked.moment,
    "targets": checked.list_of(
        checked.parts(
            SweepTarget,
            configuration=checked.text,
            target=checked.text,
            digest=checked.matching(_DIGEST, "a sha256"),
        )
    ),
    "script": checked.text,
    "arguments": checked.texts,
    "parameters": _parameters,
    "search": _one_of(SEARCHES),
    "listed": _listed,
    "most_points": _count,
    "seed": _count,
    "sampler": checked.text,
    "metric": checked.text,
    "goal": _one_of(("", *GOALS)),
    "early_stop": checked.or_none(_early_stop),
    "jobs": checked.number(1, 1000),
    "fail_fast": checked.truth,
    "timeout_s": _count,
    "run_timeout_s": _count,
    "snapshot": checked.parts(
        SnapshotRecord,
        tree=checked.matching(re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?"), "the id of a tree"),
        files=_count,
        bytes=_count,
    ),
    "source": checked.or_none(checked.parts(Source, commit=checked.text, dirty=checked.truth)),
}
assert tuple(_CHECKS) == Definition._fields
