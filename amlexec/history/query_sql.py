"""Turn a query into SQL for the index. Every value of the query is a parameter of the statement."""

# ruff: noqa: S608 - see above

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from amlexec.errors import UsageError
from amlexec.history import moments
from amlexec.history.index_schema import KINDS, SHIFT, in_sql
from amlexec.history.query import (
    And,
    Comparison,
    Exists,
    Literal,
    Member,
    Not,
    Or,
    Reference,
)
from amlexec.history.query_tokens import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from amlexec.history.query import Condition, Query, SortKey

__all__ = ["FIELDS", "Compiler", "Field", "needs_series"]


class Field(NamedTuple):
    """A field of a run that queries can name."""

    column: str
    """SQL."""
    type: str
    """`text`, `number` (also of seconds), `time` or `truth`."""


_DURATION = "coalesce(r.duration, CASE WHEN r.status = 'Running' THEN max(0, :now - r.started) END)"
FIELDS = {
    "run_id": Field("r.name", "text"),
    "status": Field("r.status", "text"),
    "reason": Field("r.reason", "text"),
    "exit_code": Field("r.exit_code", "number"),
    "script": Field("r.script", "text"),
    "configuration": Field("r.configuration", "text"),
    "target": Field("r.target", "text"),
    "target_kind": Field("r.target_kind", "text"),
    "framework": Field("r.framework", "text"),
    "created": Field("r.created", "time"),
    "created_epoch": Field("r.created", "number"),
    "started": Field("r.started", "time"),
    "ended": Field("r.ended", "time"),
    "duration": Field(_DURATION, "number"),
    "age": Field("max(0, :now - r.created)", "number"),
    "user": Field("r.user", "text"),
    "host": Field("r.host", "text"),
    "python": Field("r.python", "text"),
    "platform": Field("r.platform", "text"),
    "environment": Field("r.environment", "text"),
    "image": Field("r.image", "text"),
    "snapshot": Field("r.snapshot", "text"),
    "commit": Field("r.commit_id", "text"),
    "dirty": Field("r.dirty", "truth"),
    "sweep": Field("r.sweep", "text"),
    "point": Field("r.point", "number"),
    "note": Field("r.note", "text"),
}
_ALSO = {
    "script_name": "script",
    "run_configuration": "configuration",
    "created_utc": "created",
    "start_time_utc": "started",
    "end_time_utc": "ended",
    "user_id": "user",
    "environment_digest": "environment",
    "image_id": "image",
}
"""The keys of the JSON."""
_SERIES = {
    "min": "coalesce(s.min, CASE WHEN v.logged = 1 THEN v.num END)",
    "max": "coalesce(s.max, CASE WHEN v.logged = 1 THEN v.num END)",
    "first": "coalesce(s.first, CASE WHEN v.logged = 1 THEN v.num END)",
    "count": "v.logged",
    "last": "v.num",
}
_LARGEST_EXACT = 1 << 53
"""Larger whole numbers are compared for equality by their digits."""
_LONGEST_PATTERN = 200
_RUN = (1 << SHIFT) - 1
"""The bits of an id of a value that are the run's."""


class Compiler:
    """Compiles the parts of one statement.

    `kinds_of` returns the kinds of values (`metrics`, `params` ...) that any run has under a name, and
    `similar` names that are like another.
    """

    def __init__(
        self,
        kinds_of: Callable[[str], Sequence[str]],
        similar: Callable[[str], Sequence[str]],
        now: float,
    ) -> None:
        self._kinds_of = kinds_of
        self._similar = similar
        self._now = now
        self.values: dict[str, object] = {"now": now}
        self._text = ""
        self._keys: dict[tuple[str, str], str] = {}
        self._is_first = True

    def where(self, query: Query) -> str:
        """The condition of a query as SQL that is 0 or 1, never NULL. Raises UsageError."""
        self._text = query.text
        return self._condition(query.condition)

    def order(self, keys: Iterable[SortKey]) -> tuple[str, str]:
        """The joins and the terms of an ORDER BY: numbers, then texts, then runs without a value."""
        joins, terms = "", []
        for place, key in enumerate(keys):
            self._text = key.text.removeprefix("-")
            reference = self.resolved(key.reference)
            way = "DESC" if key.descending else "ASC"
            if reference.kind == "run":
                column = FIELDS[reference.name].column
                terms.append(f"{column} IS NULL, {column} {way}")
                continue
            joins += (
                f" LEFT JOIN ({self._values(reference)}) k{place} ON k{place}.run = r.id"
                if reference.aggregate != "last"
                else f" LEFT JOIN value k{place} ON k{place}.id = ({self._key(reference)} << {SHIFT}) + r.id"
            )
            number, text = f"k{place}.num", f"nullif(k{place}.text, 'NaN')"
            terms.append(f"{number} IS NULL, {number} {way}, {text} IS NULL, {text} {way}")
        return joins, ", ".join([*terms, "r.ms DESC, r.name DESC"])

    def resolved(self, reference: Reference) -> Reference:
        """The reference with its kind. Raises UsageError for a bare name with several meanings, or none."""
        if reference.kind == "run":
            return self._field(reference)
        if reference.kind:
            return reference
        name = _ALSO.get(reference.name, reference.name)
        kinds = [*(["run"] if name in FIELDS else []), *self._kinds_of(reference.name)]
        if len(kinds) == 1:
            return reference._replace(kind=kinds[0], name=name if kinds == ["run"] else reference.name)
        if kinds:
            choices = " or ".join(_written(kind, reference.name) for kind in kinds)
            message = f"{reference.name!r} means several things"
            raise QueryError(self._text, reference.column, message, f"write {choices}")
        near = self._similar(reference.name)
        advice = f"did you mean {' or '.join(near)}?" if near else "metrics.NAME is never an error"
        raise QueryError(
            self._text,
            reference.column,
            f"no run has a metric, parameter, tag or variable {reference.name!r}",
            advice,
        )

    def _field(self, reference: Reference) -> Reference:
        name = _ALSO.get(reference.name, reference.name)
        if name not in FIELDS:
            message = f"a run has no field {reference.name!r}"
            raise QueryError(self._text, reference.column, message, f"it has {', '.join(FIELDS)}")
        return reference._replace(name=name)

    def _condition(self, condition: Condition) -> str:
        if isinstance(condition, And):
            return f"({' AND '.join(map(self._condition, condition.conditions))})"
        if isinstance(condition, (Or, Not)):
            self._is_first = False
        if isinstance(condition, Or):
            return f"({' OR '.join(map(self._condition, condition.conditions))})"
        if isinstance(condition, Not):
            return f"NOT {self._condition(condition.condition)}"
        if isinstance(condition, Exists):
            return self._exists(self.resolved(condition.reference))
        if isinstance(condition, Member):
            left = self.resolved(condition.left)
            tests = [self._test(left, "=", value) for value in condition.values]
            return self._among(left, " OR ".join(tests))
        left = self.resolved(condition.left)
        if isinstance(condition.right, Reference):
            return self._both(left, condition.operator, self.resolved(condition.right))
        return self._among(left, self._test(left, condition.operator, condition.right))

    def _exists(self, reference: Reference) -> str:
        if reference.kind == "run":
            return f"({FIELDS[reference.name].column} IS NOT NULL)"
        return self._among(reference, "1")

    def _among(self, reference: Reference, test: str) -> str:
        """Whether the value passes a test; runs without the value don't."""
        if reference.kind == "run":
            return f"coalesce({test}, 0)"
        if reference.aggregate != "last":
            return f"(r.id IN (SELECT run FROM ({self._values(reference)}) WHERE {test}))"
        if not self._is_first:
            own = f"id = ({self._key(reference)} << {SHIFT}) + r.id"
            return f"EXISTS (SELECT 1 FROM value WHERE {own} AND ({test}))"
        # The first condition that all runs have to meet: it decides which rows are looked at for the others.
        self._is_first = False
        among = self._within("id", reference)
        return f"(r.id IN (SELECT id & {_RUN} FROM value WHERE {among} AND ({test})))"

    def _values(self, reference: Reference) -> str:
        """A SELECT of `run`, `num` and `text`."""
        return (
            f"SELECT v.id & {_RUN} AS run, {_SERIES[reference.aggregate]} AS num, NULL AS text FROM value v "
            f"LEFT JOIN series s ON s.id = v.id WHERE {self._within('v.id', reference)}"
        )

    def _within(self, column: str, reference: Reference) -> str:
        """The range of the values of a name."""
        key = self._key(reference)
        return f"{column} BETWEEN {key} << {SHIFT} AND ({key} << {SHIFT}) + {_RUN}"

    def _key(self, reference: Reference) -> str:
        if (reference.kind, reference.name) not in self._keys:
            kind, name = self._bind(KINDS.index(reference.kind)), self._bind(in_sql(reference.name))
            text = f"(SELECT id FROM key WHERE kind = {kind} AND name = {name})"
            self._keys[reference.kind, reference.name] = text
        return self._keys[reference.kind, reference.name]

    def _bind(self, value: object) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def _both(self, left: Reference, operator: str, right: Reference) -> str:
        if operator not in {"=", "!=", "<", ">", "<=", ">="}:
            raise QueryError(self._text, right.column, f"{operator} takes a value, not a name")
        first, second = self._scalar(left), self._scalar(right)
        return f"coalesce({first} {operator} {second}, 0)"

    def _scalar(self, reference: Reference) -> str:
        if reference.kind == "run":
            return FIELDS[reference.name].column
        if reference.aggregate == "last":
            found = "coalesce(num, nullif(text, 'NaN')) FROM value"
            return f"(SELECT {found} WHERE id = ({self._key(reference)} << {SHIFT}) + r.id)"
        return f"(SELECT num FROM ({self._values(reference)}) WHERE run = r.id)"

    def _test(self, reference: Reference, operator: str, literal: Literal) -> str:
        """A comparison with a value as SQL; NULL if they can't be compared."""
        if reference.kind != "run":
            return self._test_of_value(operator, literal)
        column, kind = FIELDS[reference.name]
        if operator in {"contains", "like"}:
            if kind != "text":
                raise QueryError(self._text, literal.column, f"{operator} is for text, not for a {kind}")
            return self._text_test(column, operator, literal)
        if kind == "text":
            folded = " COLLATE NOCASE" if reference.name == "status" else ""
            return f"{column} {operator} {self._bind(in_sql(literal.text))}{folded}"
        return f"{column} {operator} {self._bind(self._as_field(kind, reference, literal))}"

    def _as_field(self, kind: str, reference: Reference, literal: Literal) -> object:
        if kind == "time":
            if isinstance(literal.value, str):
                try:
                    return moments.parse(literal.text, self._now)
                except UsageError as error:
                    raise QueryError(self._text, literal.column, error.message, error.hint) from None
            advice = "such as 2026-01-31T12:00; for the time until now, write age < 2d"
            raise QueryError(self._text, literal.column, f"{reference.name} is a time", advice)
        if kind == "truth" and isinstance(literal.value, bool):
            return int(literal.value)
        if kind == "number" and isinstance(literal.value, float):
            return literal.value
        expected = "true or false" if kind == "truth" else "a number"
        if reference.name in {"duration", "age"}:
            expected = "a number of seconds, or a time such as 5m"
        raise QueryError(self._text, literal.column, f"{reference.name} is {expected}")

    def _test_of_value(self, operator: str, literal: Literal) -> str:
        if operator in {"contains", "like"}:
            return self._text_test("text", operator, literal)
        if operator == "!=":
            # Values of other types differ; NaN is not comparable.
            differs = f"NOT coalesce({self._test_of_value('=', literal)}, 0)"
            return f"(coalesce(num, nullif(text, 'NaN')) IS NOT NULL AND {differs})"
        if isinstance(literal.value, bool):
            return f"lower(text) {operator} {self._bind(literal.text)}" if operator == "=" else "0"
        if isinstance(literal.value, str):
            return f"text {operator} {self._bind(in_sql(literal.text))} AND text != 'NaN'"
        if operator == "=" and abs(literal.value) > _LARGEST_EXACT and literal.text.lstrip("+-").isdigit():
            return f"text = {self._bind(literal.text)}"
        return f"num {operator} {self._bind(literal.value)}"

    def _text_test(self, column: str, operator: str, literal: Literal) -> str:
        if operator == "contains":
            return f"instr({column}, {self._bind(in_sql(literal.text))}) > 0"
        if len(literal.text) > _LONGEST_PATTERN:
            raise QueryError(
                self._text, literal.column, f"a pattern has at most {_LONGEST_PATTERN} characters"
            )
        return f"{column} LIKE {self._bind(in_sql(literal.text))}"


def _written(kind: str, name: str) -> str:
    plain = name.isidentifier() or name.replace("/", "").replace("_", "").replace("-", "").isalnum()
    return f"{kind}.{name}" if plain else f'{kind}."{name}"'


def needs_series(query: Query | None, keys: Iterable[SortKey]) -> bool:
    """Whether a statement needs more than the last values of metrics."""

    def of(condition: Condition) -> bool:
        if isinstance(condition, (And, Or)):
            return any(map(of, condition.conditions))
        if isinstance(condition, Not):
            return of(condition.condition)
        if isinstance(condition, Exists):
            return False
        right = condition.right if isinstance(condition, Comparison) else None
        return in_series(condition.left) or (isinstance(right, Reference) and in_series(right))

    def in_series(reference: Reference) -> bool:
        return reference.aggregate in {"min", "max", "first"}

    return (query is not None and of(query.condition)) or any(in_series(key.reference) for key in keys)
