"""The `Sweep` section of a run configuration, as a value and in the JSON form of a reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.search import grammar
from amlexec.search.domains import Choices, Value, from_json, typed
from amlexec.search.space import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.search.domains import Domain

__all__ = ["SweepSection", "domain_of_list", "domain_of_text", "section"]


class SweepSection(NamedTuple):
    """What a run configuration says about its sweeps. Absent keys have the defaults."""

    parameters: tuple[Parameter, ...] = ()
    list_file: str = ""
    """Relative to the project's root."""
    search: str = ""
    """`grid`, `random` or `optuna`; "" if it does not say."""
    points: int = 0
    """The number of points; 0 for all of a grid."""
    seed: int | None = None
    sampler: str = ""
    metric: str = ""
    goal: str = ""
    early_stop: str = ""
    """As on the command line."""
    jobs: int = 0
    """Runs at once on each target; 0 if it does not say."""
    fail_fast: bool = False
    timeout: int = 0
    """Seconds after which no more runs are started; 0 for no limit."""
    run_timeout: int = 0
    """Seconds after which a run is stopped; 0 for no limit."""


def section(data: dict[str, Any]) -> SweepSection:
    """The section from its reading: fields, with `parameters` as pairs of a name and `domains.to_json`."""
    parameters = tuple(Parameter(name, from_json(domain)) for name, domain in data.get("parameters", ()))
    return SweepSection(**{**data, "parameters": parameters})


def domain_of_text(text: str) -> Domain:
    """The values of a parameter that are written as one text.

    Raises:
        BadValuesError: it is a list or a range, but not a valid one.
    """
    return grammar.values(text) or Choices((typed(grammar.literal(text)),))


def domain_of_list(items: Sequence[tuple[str, bool]]) -> Choices:
    """The values that a YAML list has: the text of each, and whether it is plain, without quotes."""
    return Choices(tuple(typed(text) if is_plain else Value(text, text) for text, is_plain in items))
