"""The conditions of `history list` that have an option of their own, as a query."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from amlexec.errors import UsageError
from amlexec.history import moments
from amlexec.history.listing import BROKEN
from amlexec.history.query import And, Comparison, Exists, Literal, Member, Query, Reference, parse
from amlexec.history.record import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amlexec.history.query import Condition

__all__ = ["query_of"]

_SUFFIXES = {"configuration": ".runconfig", "target": ".compute"}


def query_of(
    *,
    fields: Iterable[tuple[str, Sequence[str]]] = (),
    tags: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
    sweep: str | None = None,
    where: str | None = None,
) -> Query | None:
    """All conditions together; None without any.

    Args:
        fields: `configuration`, `target`, `status` or `script`, and its values, of which one has to match.
        tags: `NAME` or `NAME=VALUE`; all have to be there.
        since: the earliest time of creation, as in `moments.parse`.
        until: the latest one.
        sweep: the id of the sweep that the runs are part of.
        where: a query, as in `query.parse`.

    Raises:
        UsageError: one of them is wrong.
    """
    now = time.time()
    found: list[Condition] = []
    for name, values in fields:
        if values:
            chosen = tuple(_literal(_value(name, value)) for value in values)
            found.append(Member(Reference("run", name, 0), chosen))
    for text in tags:
        name, sign, value = text.partition("=")
        tag = Reference("tags", name, 0)
        found.append(Comparison(tag, "=", _literal(value)) if sign else Exists(tag))
    for option, operator, moment in (("--since", ">=", since), ("--until", "<=", until)):
        if moment is not None:
            try:
                limit = moments.parse(moment, now)
            except UsageError as error:
                raise UsageError(error.message, hint=error.hint, where=option) from None
            found.append(
                Comparison(Reference("run", "created_epoch", 0), operator, Literal(limit, moment, 0))
            )
    if sweep is not None:
        found.append(Comparison(Reference("run", "sweep", 0), "=", _literal(sweep)))
    if where is not None:
        found.append(parse(where).condition)
    if not found:
        return None
    return Query(where or "", found[0] if len(found) == 1 else And(tuple(found)))


def _literal(text: str) -> Literal:
    return Literal(text, text, 0)


def _value(name: str, value: str) -> str:
    if name == "status":
        by_name = {status.lower(): status for status in (*STATUSES, BROKEN)}
        if value.lower() not in by_name:
            from difflib import get_close_matches

            near = get_close_matches(value.lower(), by_name, n=1)
            hint = (
                f"did you mean {by_name[near[0]]}?"
                if near
                else f"one of {', '.join(sorted(by_name.values()))}"
            )
            raise UsageError(f"there is no status {value!r}", hint=hint, where="--status")
        return by_name[value.lower()]
    return value.removesuffix(_SUFFIXES.get(name, ""))
